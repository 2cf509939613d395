#!/bin/bash
# The package under a systemd of its own: the units with all that they forbid,
# readiness, reload, the watchdog.
#   systemd_steps.sh LOWER PACKAGE.deb
# LOWER: the root of a bare Debian, which is not written. Root, in a mount and
# pid namespace of its own; apt wants the network.
set -eu
lower=$1 package=$2

fail() { inside journalctl --no-pager -n 60 >&2; echo "FAILED: $*" >&2; exit 1; }
prepare() { DEBIAN_FRONTEND=noninteractive chroot "$root" "$@" >&2; }
inside() { nsenter -t "$first" -p -m -n -u -i -C -- "$@"; }
show() { inside systemctl show "$1" -p "$2" --value; }
until_true() { # WHAT COMMAND...
    local what=$1 i
    shift
    for i in $(seq 600); do
        "$@" && return
        sleep 0.1
    done
    fail "never came true: $what"
}

# ---- a machine with systemd ----------------------------------------------

base=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$base"
mkdir "$base"/{upper,work,root}
root=$base/root
mount -t overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" \
    none "$root"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf "$root/etc/"
cp "$package" "$root/root/touchline.deb"
prepare apt-get -q update
prepare apt-get install -qy --no-install-recommends systemd systemd-sysv curl
prepare apt-get install -qy --no-install-recommends /root/touchline.deb
umount "$root/proc"

cat > "$base/boot" <<'END'
mount -t proc none "$1/proc"
mount -t sysfs none "$1/sys"
mount -t cgroup2 none "$1/sys/fs/cgroup"
ip link set lo up
cd "$1"
mkdir oldroot
pivot_root . oldroot # no chroot: there user namespaces are forbidden
umount -l oldroot
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd
END
unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child \
    sh -e "$base/boot" "$root" > /dev/null 2>&1 < /dev/null &
outer=$!
first=
booted() {
    first=$(tr -d ' ' < "/proc/$outer/task/$outer/children")
    [ "$first" ] &&
        inside systemctl is-system-running 2> /dev/null |
        grep -qE 'running|degraded'
}
for _ in $(seq 600); do booted && break || sleep 0.1; done
is() { [ "$(show "$2" "$1")" = "$3" ]; }

# ---- the whole -------------------------------------------------------------

until_true 'active' is ActiveState touchline active
show touchline StatusText | grep -q '^serving http://127.0.0.1:8000 ' ||
    fail 'the status text'
status=/proc/$(show touchline MainPID)/status
inside grep -qE '^Seccomp:.2$' "$status" || fail 'no filter'
inside grep -qE '^CapBnd:.0+$' "$status" || fail 'capabilities'
inside router-ctl status | head -n 1 | grep -qx OK || fail 'status'
inside curl -sf -d hello http://127.0.0.1:8000/v1/publish/a > /dev/null
inside systemctl reload touchline || fail 'reload'
is ActiveState touchline active || fail 'active behind the reload'

# Who hangs is replaced by touchline, touchline by systemd.
inside mkdir -p /run/systemd/system/touchline.service.d
printf '[Service]\nWatchdogSec=8\n' |
    inside tee /run/systemd/system/touchline.service.d/short.conf > /dev/null
inside systemctl daemon-reload
inside systemctl restart touchline
main=$(show touchline MainPID)
child=$(inside sh -c "tr ' ' '\n' < /proc/$main/task/$main/children" | tail -n 2 | head -n 1)
inside sh -c "kill -STOP $child"
gone() { ! inside test -e "/proc/$1/exe"; }
until_true 'the child is gone' gone "$child"
is MainPID touchline "$main" || fail 'systemd ended all for one'
is NRestarts touchline 0 || fail 'systemd ended all for one'
inside sh -c "kill -STOP $main"
until_true 'systemd starts it again' is NRestarts touchline 1
until_true 'active again' is ActiveState touchline active
inside curl -sf http://127.0.0.1:8000/v1/history/a | grep -q '"hello"' ||
    fail 'what was said'
inside systemctl stop touchline || fail 'stop'
is Result touchline success || fail 'the end'

# ---- each process a unit of its own --------------------------------------

inside systemctl start touchline-router touchline-http@0 touchline-tcp@0 \
    touchline-ws@0 || fail 'one by one'
inside curl -sf http://127.0.0.1:8000/v1/history/a | grep -q '"hello"' ||
    fail 'what was said, once more'
inside systemctl stop 'touchline*'
for unit in touchline-router touchline-{http,tcp,ws}@0; do
    is Result "$unit" success || fail "the end of $unit"
done

inside env DEBIAN_FRONTEND=noninteractive apt-get -qy purge touchline > /dev/null
for path in /etc/touchline /var/lib/touchline /run/touchline \
    /etc/systemd/system/multi-user.target.wants/touchline.service; do
    ! inside test -e "$path" || fail "left behind: $path"
done
! inside getent passwd touchline || fail 'the user is left'
kill "$outer"
echo '== systemd is content'
