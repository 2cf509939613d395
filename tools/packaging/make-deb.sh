#!/bin/sh
# Packs what is built into build/touchline_VERSION_ARCH.deb.
#   make-deb.sh VERSION
# The tree that dpkg-buildpackage wants is put together in build/deb/, so that
# no debian/ stands in the repository's top folder.
set -eu
cd "$(dirname "$0")/../.."
version=$1
tree=build/deb/touchline-$version
TOUCHLINE_SOURCE=$PWD
export TOUCHLINE_SOURCE

rm -rf build/deb
mkdir -p "$tree"
cp -r tools/packaging/debian "$tree"
# The version stands in the Makefile alone.
sed -i "1s/(.*)/($version)/" "$tree/debian/changelog"
unset MAKEFLAGS MFLAGS MAKELEVEL
log=build/deb/log
# What it needs tools/deps.sh has looked for: a compiler for C++ is not of it.
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) \
    > "$log" 2>&1 || {
    cat "$log" >&2
    exit 1
}
# Who reads the one of before goes on with it.
mv build/deb/touchline*_"$version"_*.deb build
ls build/touchline*_"$version"_*.deb
