#!/bin/sh
# Makes the secrets of compose.yaml: one password for the database, told to it and to us. What is there stays.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
[ -s secrets/database-password ] && exit 0
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
printf '%s' "$password" > secrets/database-password
printf 'postgresql://ichd:%s@database/ichd' "$password" > secrets/DATABASE__URL
# The containers' users have numbers that this machine does not know, so the files are open to all; the folder, which
# they don't come through, is open to us alone.
chmod 0644 secrets/*
chmod 0700 secrets
