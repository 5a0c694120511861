#!/bin/sh
# Makes the secrets of compose.yaml: one password for the database, told to it and to us. What is there stays.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
[ -s secrets/database-password ] && exit 0
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
printf '%s' "$password" > secrets/database-password
printf 'postgresql://ichd:%s@database/ichd' "$password" > secrets/DATABASE__URL
# The containers' users have numbers that this machine does not know; the folder keeps others out.
chmod 0644 secrets/*
chmod 0711 secrets
