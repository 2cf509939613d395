#!/bin/bash
# Installs a Debian package into a copy of a system that is thrown away, runs
# it there, upgrades, removes and purges it, and looks at what is left.
#   package_steps.sh LOWER OLD.deb NEW.deb
# LOWER: the root of a Debian, which is not written: it lies below an overlay.
# Root, in a mount namespace of its own. What the service needs is called with
# `talk` in a network of its own, where its usual ports are free.
set -eu

say() { echo "== $*" >&2; }
fail() { echo "FAILED: $*" >&2; exit 1; }
inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }

# ---- the service, as its unit starts it ----------------------------------

started_by_the_unit() {
    sed -n 's/^ExecStart=//p' "$root/lib/systemd/system/touchline.service"
}

wait_until_ready() { # reads the ready lines
    local kinds='' word kind url
    while [ "$(echo "$kinds" | wc -w)" -lt 4 ]; do
        read -r -t 60 word kind url || fail "not ready, only:$kinds"
        [ "$word" != ready ] || kinds="$kinds $kind"
    done
}

talk() { # ROOT SAID: what the history has already
    local words pid out stream line
    root=$1
    ip link set lo up
    read -ra words <<< "$(started_by_the_unit)"
    exec {out}< <(exec chroot "$root" setpriv --reuid touchline \
        --regid touchline --clear-groups --no-new-privs "${words[@]}")
    pid=$!
    wait_until_ready <&"$out"
    exec {stream}< <(exec curl -sN 'http://127.0.0.1:8000/v1/stream?channel=a')
    read -r -t 60 line <&"$stream"
    case $line in *'"notice":"snapshot"'*) ;; *) fail "stream: $line" ;; esac
    curl -sf -d "hello $2" http://127.0.0.1:8000/v1/publish/a > /dev/null
    read -r -t 60 line <&"$stream"
    case $line in *"\"data\":\"hello $2\""*) ;; *) fail "stream: $line" ;; esac
    inside router-ctl status | head -n 1 | grep -qx OK || fail 'status'
    inside router-ctl history a | grep -q 'hello 1' || fail 'the history'
    inside touchline --config /etc/touchline/touchline.conf --print-config |
        grep -qx "message = $3" || fail 'the configuration'
    [ "$(stat -c %U "/proc/$pid")" != root ] || fail 'it runs as root'
    kill -TERM "$pid"
    while read -r -t 60 line <&"$out"; do :; done
    [ ! -e "/proc/$pid/exe" ] || fail 'it did not end'
}
[ "$1" != talk ] || { shift; talk "$@"; exit; }

# ---- the copy ------------------------------------------------------------

lower=$1 old=$2 new=$3
base=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$base"
mkdir "$base"/{upper,work,root}
root=$base/root
mount -t overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" \
    none "$root"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/run"
mount -t tmpfs -o mode=1777 none "$root/tmp"
cp "$old" "$root/tmp/old.deb"
cp "$new" "$root/tmp/new.deb"

# apt, where what it depends on is not there: a bare system.
if inside dpkg -s libnng1 > /dev/null 2>&1; then
    bare=
    inside dpkg -s touchline > /dev/null 2>&1 &&
        fail 'touchline is installed on this machine: nothing could be said'
else
    bare=1
    cp /etc/resolv.conf "$root/run/"
    [ -e "$root/etc/resolv.conf" ] || cp /etc/resolv.conf "$root/etc/"
    inside apt-get -q update >&2
fi

# Files that are new or changed above LOWER, but what dpkg keeps for itself and
# caches; those of /etc only when their contents differ.
changed() {
    (cd "$base/upper" && find . -mindepth 1 ! -type d ! -type c -printf '%P\n'
     cd "$root" && find run -mindepth 1) | sort | while read -r f; do
        case $f in
        var/lib/dpkg/* | var/log/* | var/cache/* | var/lib/apt/* | \
        etc/ld.so.cache | etc/*- | etc/.pwd.lock | run/adduser | run/resolv.conf) ;;
        *) cmp -s "$lower/$f" "$root/$f" || echo "$f" ;;
        esac
    done
}

accounts() { cat "$root"/etc/{passwd,group,shadow,gshadow}; }
before=$(changed)
accounts_before=$(accounts)

# ---- what an operator does -----------------------------------------------

say install
if [ "$bare" ]; then
    inside apt-get -qy --no-install-recommends install /tmp/old.deb >&2
else
    inside dpkg --no-triggers --force-unsafe-io -i /tmp/old.deb >&2
fi
conf=$root/etc/touchline/touchline.conf
[ "$(inside stat -c '%a %U:%G' /etc/touchline/touchline.conf)" = \
    '640 root:touchline' ] || fail 'the mode of the configuration'
[ "$(inside stat -c '%a %U:%G' /var/lib/touchline)" = \
    '700 touchline:touchline' ] || fail 'the mode of its directory'
[ "$(inside getent passwd touchline | cut -d: -f7)" = /usr/sbin/nologin ] ||
    fail 'the user can log in'

say run
unshare --net "$0" talk "$root" 1 64K

say upgrade, with a configuration that was changed
printf '\n[limits]\nmessage = 128K\n' >> "$conf"
inside dpkg --no-triggers --force-unsafe-io --force-confold -i /tmp/new.deb >&2
inside dpkg-query -W -f '${Version}\n' touchline | grep -qx '.*+test' ||
    fail 'the version'
tail -n 1 "$conf" | grep -qx 'message = 128K' || fail 'the change is lost'
[ "$(inside stat -c '%a %U:%G' /etc/touchline/touchline.conf)" = \
    '640 root:touchline' ] || fail 'the mode of the configuration, later'
unshare --net "$0" talk "$root" 2 128K

say remove
inside dpkg --no-triggers --remove touchline >&2
[ ! -e "$root/usr/bin/touchline" ] || fail 'still there'
[ -e "$root/var/lib/touchline/touchline.db" ] || fail 'what was said is gone'
[ -e "$conf" ] || fail 'the configuration is gone'
[ ! -L "$root/run/touchline" ] || fail 'a link that leads nowhere'

say purge
inside dpkg --no-triggers --purge touchline >&2
[ ! "$bare" ] || inside apt-get -qy --purge autoremove >&2
left=$(comm -13 <(echo "$before") <(changed))
[ ! "$left" ] || fail "left behind: $left"
[ "$(accounts)" = "$accounts_before" ] || fail 'the accounts are others'
if find "$base/upper" "$root/run" ! -type c -iname '*touchline*' | grep .; then
    fail 'the name is still there'
fi
say nothing is left
