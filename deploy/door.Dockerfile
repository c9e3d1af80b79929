# The door: a distribution's nginx, before the pages and the service that predicts.
ARG BASE=python:3.11.14-slim-bookworm
FROM $BASE
RUN apt-get update && apt-get install --yes --no-install-recommends nginx openssl \
        && apt-get clean && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 door && install --directory --owner door /tls
COPY deploy/door.conf deploy/door.sh /opt/door/
USER door
CMD ["sh", "/opt/door/door.sh"]
