#!/usr/bin/env bash
# As Docker's image of Postgres starts: an empty folder becomes a cluster, in which its scripts run.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username postgres --pwfile <(echo "$POSTGRES_PASSWORD") --encoding UTF8
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        bash "$script"
    done
    pg_ctl --wait --mode fast stop
fi
exec postgres -c listen_addresses='*'
