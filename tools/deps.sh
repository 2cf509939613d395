#!/bin/sh
# Is everything there that building (and testing) needs? Looks for files and
# commands first and leaves the network alone when all are found; else installs
# what is missing with apt-get, as root or through sudo. The independent peers
# that tests talk through come from npm, into build/node.
#   deps.sh build [test] [package] [bench] [chaos_peers] [bench_nchan] [bench_nats] ...
set -u
cd "$(dirname "$0")/.." || exit 1

# What root has built root alone can build again.
if [ -d build ] && ! [ -w build ]; then
    echo "build/ belongs to $(stat -c %U build), and you are $(id -un): remove" \
        "it as that user (\`make clean\`), or use a checkout of your own" >&2
    exit 1
fi

# What proves that it is there | the Debian package that brings it.
build='
gcc|gcc
ar|binutils
/usr/include/string.h|libc6-dev
/usr/include/event2/event.h|libevent-dev
/usr/include/nng/nng.h|libnng-dev
/usr/include/sqlite3.h|libsqlite3-dev
/usr/include/cjson/cJSON.h|libcjson-dev
/usr/include/xxhash.h|libxxhash-dev
/usr/include/openssl/hmac.h|libssl-dev
/usr/include/zlib.h|zlib1g-dev
gzip|gzip
/usr/include/seccomp.h|libseccomp-dev
/usr/include/histedit.h|libedit-dev
'
test='
clang|clang
/usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a|libclang-rt-14-dev
python3|python3
curl|curl
jq|jq
telnet|telnet
ip|iproute2
strace|strace
groff|groff-base
node|nodejs
npm|npm
chromium|chromium
chromedriver|chromium-driver
/usr/lib/python3/dist-packages/websockets|python3-websockets
openssl|openssl
nginx|nginx
/usr/lib/nginx/modules/ngx_stream_module.so|libnginx-mod-stream
haproxy|haproxy
caddy|caddy
prometheus|prometheus
gnuplot|gnuplot-nox
'
# What counts instructions and system calls.
bench='
python3|python3
valgrind|valgrind
/usr/include/valgrind/callgrind.h|valgrind
strace|strace
'
# Whom `make chaos-peers` puts beside us.
chaos_peers='
python3|python3
/usr/lib/nginx/modules/ngx_nchan_module.so|libnginx-mod-nchan
mosquitto|mosquitto
'
# What `make bench-peers` draws with, and whom it puts beside us: servers.py in
# tests/bench/compare asks for one at a time, so that one that cannot be had keeps no
# other away.
bench_peers='
python3|python3
gnuplot|gnuplot-nox
'
bench_nchan='
nginx|nginx
/usr/lib/nginx/modules/ngx_nchan_module.so|libnginx-mod-nchan
'
bench_nats='
nats-server|nats-server
'
bench_redis='
redis-server|redis-server
'
bench_mosquitto='
mosquitto|mosquitto
'
package='
dpkg-buildpackage|dpkg-dev
dh|debhelper
fakeroot|fakeroot
lintian|lintian
'
# Headers may lie in the folder of the architecture, too.
present() {
    case $1 in
    /usr/include/*) [ -e "$1" ] || find /usr/include/*-linux-gnu \
        -path "*/${1#/usr/include/}" 2>/dev/null | grep -q . ;;
    /*) ls $1 >/dev/null 2>&1 ;; # unquoted: a pattern
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=
for group in "$@"; do
    eval "rows=\$$group"
    for row in $rows; do
        present "${row%%|*}" || missing="$missing ${row#*|}"
    done
done

# What tests/node/package.json names; done when its lock file has been copied.
peers() {
    case " $* " in *' test '*) ;; *) return 0 ;; esac
    cmp -s tests/node/package-lock.json build/node/package-lock.json && return 0
    echo 'npm ci: the test peers, into build/node' >&2
    rm -rf build/node.new && mkdir -p build/node.new &&
        cp tests/node/package.json tests/node/package-lock.json build/node.new &&
        npm ci --prefix build/node.new --ignore-scripts --no-audit --no-fund \
            --loglevel=error >&2 &&
        rm -rf build/node && mv build/node.new build/node
}

[ -n "$missing" ] || { peers "$@"; exit; }

line="apt-get install -y --no-install-recommends$missing"
echo "missing:$missing" >&2
if [ "$(id -u)" = 0 ]; then
    run=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    run=sudo
elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then
    run=sudo
else
    echo "please run as root:" >&2
    echo "    $line" >&2
    exit 1
fi
echo "${run:+$run }$line" >&2

# A server that a package brings is not to begin by itself: what runs here is what
# the tests start. A machine that has a rule for that already keeps it.
rule=${TOUCHLINE_POLICY_RC_D:-/usr/sbin/policy-rc.d}
if ! [ -e "$rule" ]; then
    $run sh -c "printf '#!/bin/sh\\nexit 101\\n' >$rule && chmod 755 $rule" || exit 1
    trap '$run rm -f "$rule"' EXIT
    trap 'exit 1' HUP INT TERM
fi
$run $line || { $run apt-get update && $run $line; } || {
    echo "that did not work; by hand, as root:" >&2
    echo "    $line" >&2
    exit 1
}
case $missing in
*nginx*|*haproxy*|*caddy*|*prometheus*|*mosquitto*|*nats*|*redis*)
    echo 'The tests start proxies, brokers and a Prometheus of their own. So that those just' \
        'installed do not come up with the next boot: systemctl disable nginx haproxy' \
        'caddy prometheus mosquitto nats-server redis-server (those that are new)' >&2 ;;
esac
peers "$@"
