#!/bin/sh
# Lets the replica in, by the same password; once this is done, nothing is answered that is not there too.
set -eu
echo "hostssl replication all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
echo "synchronous_standby_names = '*'" >> "$PGDATA/postgresql.auto.conf"
