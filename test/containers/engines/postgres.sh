#!/bin/bash
# Stands in for the entrypoint of the image `postgres`: owners and modes, the step down from root, and the first start.
set -eu
umask 022
if [ "$1" != postgres ]; then exec "$@"; fi

make_folders() {
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || true
  mkdir -p /var/run/postgresql || true
  chmod 3775 /var/run/postgresql || true
}

make_folders
if [ "$(id -u)" = 0 ]; then
  find "$PGDATA" ! -user postgres -exec chown postgres '{}' +
  chown postgres:postgres /var/run/postgresql
  # As that user it must reach the data through every folder above.
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 \
    --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") >/dev/null
  printf '%s\n' "listen_addresses = '*'" "unix_socket_directories = '/var/run/postgresql'" >>"$PGDATA/postgresql.conf"
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  # By its socket alone, so that a client by TCP does not take it for ready.
  pg_ctl --wait --silent --options="-c listen_addresses=''" start >/dev/null
  psql --quiet --no-psqlrc --host=/var/run/postgresql --username="$POSTGRES_USER" --dbname=postgres \
    --command="create database \"$POSTGRES_DB\"" || true
  pg_ctl --wait --silent --mode=fast stop
fi
exec "$@"
