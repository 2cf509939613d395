#!/bin/sh
# Makes the units out of their templates: what they share stands in
# hardening.inc, what gateways share in one file.
#   make-units.sh BINDIR OUTDIR
set -eu
here=$(dirname "$0") bindir=$1 out=$2
mkdir -p "$out"

unit() { # TEMPLATE NAME [KIND]
    sed -e '/^@HARDENING@$/{' -e "r $here/hardening.inc" -e 'd' -e '}' \
        -e "s|@BINDIR@|$bindir|; s|@KIND@|${3:-}|g" "$here/$1.in" > "$out/$2"
    chmod 644 "$out/$2"
}

unit touchline.service touchline.service
unit touchline-router.service touchline-router.service
for kind in http tcp ws repeater; do
    unit touchline-gateway@.service "touchline-$kind@.service" "$kind"
done
