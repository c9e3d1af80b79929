#!/usr/bin/env bash
# Two databases, each with a login that owns it and cannot enter the other. Postgres' image runs this
# once, when its volume is empty.
set -euo pipefail

for name in dagster mlflow; do
    password="${name^^}_POSTGRES_PASSWORD"
    psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" --set password="${!password}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
