#!/bin/sh
# Starts a server for the conformance suite Complement: SERVER_NAME is its name, 8008 speaks HTTP and 8448
# HTTPS. It may be started many times on the same data. ASTROCYTE is the program, DATA the
# folder, CA that of the authority.
set -eu

program=${ASTROCYTE:-astrocyte}
data=${DATA:-/data}
ca=${CA:-/complement/ca}
mkdir -p "$data"

# A new certificate at every start: the name may be another one.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$SERVER_NAME" \
	-keyout "$data/tls.key" -out "$data/tls.csr" 2>/dev/null
case $SERVER_NAME in
*[!0-9.]*) name="DNS:$SERVER_NAME" ;;
*) name="IP:$SERVER_NAME" ;;
esac
printf 'subjectAltName=%s\n' "$name" >"$data/tls.ext"
openssl x509 -req -in "$data/tls.csr" -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
	-days 7 -extfile "$data/tls.ext" -out "$data/tls.crt" 2>/dev/null

cat >"$data/astrocyte.yaml" <<END
server_name: $SERVER_NAME
data_dir: $data
listeners:
  - address: 0.0.0.0:8008
  - address: 0.0.0.0:8448
    tls: {certificate: $data/tls.crt, key: $data/tls.key}
registration:
  enabled: true
  guests: true
  shared_secret: complement
passwords: {minimum_length: 6, hash: bcrypt, bcrypt_cost: 4}
rate_limits: {enabled: false}
presence: {federation: true}
push: {legacy_mentions: true, thread_subscriptions: true} # see docs/decisions
rooms: {default_version: "11"} # what the suite takes for granted where it names no version
federation:
  allow_private_addresses: true
  key_notaries: []
  device_names: true
  certificate_authorities: [$ca/ca.crt]
media:
  unauthenticated_downloads: true # the suite asks at the old endpoints
  previews: {enabled: true, allow: [0.0.0.0/0, "::/0"]}
application_services: [/complement/appservice/*.yaml]
log: {level: ${LOG_LEVEL:-info}, format: text}
END

exec "$program" serve --config "$data/astrocyte.yaml"
