#!/usr/bin/env python3
"""Follows tools/packaging/Containerfile without a container engine, and runs
what comes out as one would: process 1, read-only, without capabilities.

container_steps.py LOWER: the root of a Debian, which plays the image that FROM
names and is not written. Root, in a mount namespace of its own; RUN wants the
network."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile

from world import DEADLINE, Lines, check, equal, eventually
from package_system import ROOT, instructions

SYSTEM = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def call(*words, **more):
    subprocess.run(words, check=True, **more)


class Stage:
    """A FROM and what follows."""

    def __init__(self, lower):
        base = tempfile.mkdtemp(prefix="tl-")
        call("mount", "-t", "tmpfs", "none", base)
        self.root = base + "/root"
        for name in ("upper", "work", "root"):
            os.mkdir(f"{base}/{name}")
        call("mount", "-t", "overlay", "none", self.root, "-o",
             f"lowerdir={lower},upperdir={base}/upper,workdir={base}/work")
        call("mount", "--rbind", "/dev", self.root + "/dev")
        call("mount", "-t", "proc", "none", self.root + "/proc")
        call("cp", "/etc/resolv.conf", self.root + "/etc/resolv.conf")
        self.cwd, self.env, self.user, self.said = "/", {}, None, {}

    def run(self, text):
        call("chroot", self.root, "sh", "-ec", f"cd {self.cwd}; {text}",
             env={**SYSTEM, **self.env, "DEBIAN_FRONTEND": "noninteractive"})

    def copy(self, words, stages):
        origin = ROOT
        if words[0].startswith("--from="):
            origin = stages[words.pop(0)[7:]].root
        *sources, to = words
        to = self.root + os.path.normpath(os.path.join(self.cwd, to))
        for source in sources:
            source = os.path.normpath(f"{origin}/{source}")
            if os.path.isdir(source):  # its contents
                os.makedirs(to, exist_ok=True)
                call("cp", "-a", source + "/.", to)
            else:
                into = to if len(sources) == 1 and not os.path.isdir(to) else to + "/"
                os.makedirs(os.path.dirname(into), exist_ok=True)
                call("cp", "-a", source, into)

    def follow(self, word, rest, stages):
        print("==", word, rest, flush=True)
        if word == "RUN":
            self.run(rest)
        elif word == "COPY":
            self.copy(rest.split(), stages)
        elif word == "WORKDIR":
            self.cwd = rest
            os.makedirs(self.root + rest, exist_ok=True)
        elif word == "ENV":
            self.env.update(pair.split("=", 1) for pair in shlex.split(rest))
        else:
            self.said[word] = rest


def build(lower):
    stages, stage = {}, None
    for word, rest in instructions():
        if word == "FROM":
            stage = Stage(lower)
            stages[rest.split()[-1]] = stage
        else:
            stage.follow(word, rest, stages)
    return stage


class Container:
    """What `podman run --read-only --cap-drop all` would do."""

    def __init__(self, image, **env):
        self.image = image
        self.env = {**SYSTEM, **image.env, **env}
        volume = image.root + image.said["VOLUME"]
        script = ("ip link set lo up; mount -o remount,ro \"$1\"; "
                  "mount -t tmpfs -o mode=700,uid=$3,gid=$3 none \"$2\"; "
                  "mount -t proc none \"$1/proc\"; shift 3; exec \"$@\"")
        uid = next(line.split(":")[2] for line in open(image.root + "/etc/passwd")
                   if line.startswith(image.said["USER"] + ":"))
        self.become = ["chroot", image.root, "setpriv", "--reuid", uid, "--regid", uid,
                       "--clear-groups", "--bounding-set", "-all", "--no-new-privs"]
        entry = json.loads(image.said["ENTRYPOINT"])
        self.log = tempfile.TemporaryFile()
        self.proc = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec",
             script, "sh", image.root, volume, uid, *self.become, *entry],
            env=self.env, stdout=subprocess.PIPE, stderr=self.log)
        out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        ready = [out.line(60).decode().split() for _ in range(4)]
        self.urls = {word[1]: word[2] for word in ready}
        with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
            self.first = int(f.read())

    def outside(self, *words):
        """In its network only."""
        p = subprocess.run(["nsenter", f"--target={self.first}", "--net", *words],
                           capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, p.stderr)
        return p.stdout.decode()

    def inside(self, *words):
        """As `podman exec`."""
        p = subprocess.run(["nsenter", f"--target={self.first}", "--net", "--mount", "--pid",
                            *self.become, *words], capture_output=True, timeout=DEADLINE,
                           env=self.env)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def errors(self):
        fd = self.log.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def children(self):
        with open(f"/proc/{self.first}/task/{self.first}/children") as f:
            return [int(pid) for pid in f.read().split()]


def run(image):
    c = Container(image, WATCHDOG_USEC="8000000")
    equal({kind: url for kind, url in c.urls.items() if kind != "router"},
          {"http": "http://0.0.0.0:8000", "tcp": "tcp://0.0.0.0:9999",
           "ws": "ws://0.0.0.0:8001"})
    c.outside("curl", "-sf", "-d", "hello", "http://127.0.0.1:8000/v1/publish/a")
    check('"hello"' in c.outside("curl", "-sf", "http://127.0.0.1:8000/v1/history/a"), "kept")
    code, out, err = c.inside(*json.loads(image.said["HEALTHCHECK"].split("CMD", 1)[1]))
    check(code == 0 and out.startswith("OK"), out + err)
    check(c.inside("touch", "/etc/x")[0] != 0, "the root can be written")
    with open(f"/proc/{c.first}/status") as f:
        status = f.read()
    check(re.search(r"^CapBnd:\s0+$", status, re.M) and "\nUid:\t0" not in status, status)
    # Nobody else watches: who hangs is replaced.
    victim = c.children()[-1]
    os.kill(victim, signal.SIGSTOP)
    eventually(lambda: len(c.children()) == 4 and victim not in c.children(), "it is replaced")
    check("child.hung" in c.errors(), c.errors())
    os.kill(c.first, getattr(signal, image.said["STOPSIGNAL"]))
    equal(c.proc.wait(DEADLINE), 0, c.errors())
    print("== it was built, served, and ended with 0")


if __name__ == "__main__":
    run(build(sys.argv[1]))
