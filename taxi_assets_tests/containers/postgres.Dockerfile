# Debian's Postgres in the role of Docker's image: the same user, folders, variables and start.
ARG BASE
FROM $BASE
RUN apt-get update && DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends postgresql-15 \
        && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/15 \
        && install --directory --owner postgres --mode 700 /var/lib/postgresql/data
RUN install --directory --owner postgres --group postgres --mode 3777 /run/postgresql
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
COPY postgres_entrypoint.sh /
ENTRYPOINT ["bash", "/postgres_entrypoint.sh"]
