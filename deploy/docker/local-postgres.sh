#!/bin/sh
# Takes POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB as the engine's own image does.
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    umask 077
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata "$data" --username "$POSTGRES_USER" --pwfile /tmp/password --auth scram-sha-256 --encoding UTF8 --locale C
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    printf 'CREATE DATABASE "%s";\n' "$POSTGRES_DB" | postgres --single -D "$data" postgres > /dev/null
fi
exec postgres -D "$data" -c 'listen_addresses=*' -c unix_socket_directories=/run/postgresql
