"""What is installed: the Debian package, the units, the container's recipe.

The package is installed into a copy of this machine that is thrown away; `make
deb-test` does the same in a bare Debian (TOUCHLINE_DEBOOTSTRAP=1, or the folder
of one that is there)."""
import contextlib
import fcntl
import glob
import os
import re
import shlex
import shutil
import subprocess
import tempfile

from world import BIN, DEADLINE, ROOT, World, check, equal, unshare

PACKAGING = os.path.join(ROOT, "tools/packaging")
HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, SYSTEMD, CONTAINER = (f"{HERE}/{name}" for name in (
    "package_steps.sh", "systemd_steps.sh", "container_steps.py"))
BARE = os.environ.get("TOUCHLINE_DEBOOTSTRAP")
ONE_AT_A_TIME = bool(BARE)  # the bare Debian is one
SLOW = True


def read(*path):
    with open(os.path.join(*path)) as f:
        return f.read()


def version():
    return re.search(r"^VERSION *:= *(\S+)$", read(ROOT, "Makefile"), re.M)[1]


def files_below(*folders):
    for folder in folders:
        for base, _, names in os.walk(folder):
            yield from (os.path.join(base, name) for name in names)


def package():
    """Of what build/bin has; its path. Made when it is not there, or older than
    what goes into it, by one test while others wait for it."""
    with one_packer():
        if not is_fresh():
            p = subprocess.run([f"{PACKAGING}/make-deb.sh", version()], capture_output=True,
                               timeout=300)
            equal(p.returncode, 0, p.stderr)
        return made()[0]


@contextlib.contextmanager
def one_packer():
    with open(f"{ROOT}/build/package.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made():
    return glob.glob(f"{ROOT}/build/touchline_{version()}_*.deb")


def is_fresh():
    """Is there a package that is younger than what goes into it?"""
    inputs = files_below(BIN, PACKAGING, ROOT + "/docs")
    return made() and os.stat(made()[0]).st_mtime > max(os.stat(f).st_mtime for f in inputs)


def next_version(deb, folder):
    """The same package once more, newer, with another configuration."""
    tree, out = os.path.join(folder, "tree"), os.path.join(folder, "newer.deb")
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    with open(tree + "/etc/touchline/touchline.conf", "a") as f:
        f.write("# newer\n")
    control = read(tree, "DEBIAN/control").replace(version(), version() + "+test", 1)
    with open(tree + "/DEBIAN/control", "w") as f:
        f.write(control)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, out],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def in_namespace(*command):
    """Mounts and processes of the command are gone with it."""
    p = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child",
                        "--mount-proc", *command],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = p.stdout.decode(errors="replace")
    check(p.returncode == 0 and text.rsplit("\n", 2)[-2].startswith("== "), text[-3000:])


def lives_and_goes(lower):
    if os.geteuid() or not unshare("--mount"):
        print("     skipped: only root may install, in a mount namespace of his own")
        return
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        deb = package()
        in_namespace(STEPS, lower, deb, next_version(deb, folder))


def test_the_package_lives_and_goes_without_a_trace():
    lives_and_goes("/")


def test_the_documents_in_the_package_lead_to_each_other():
    p = subprocess.run(["dpkg-deb", "--contents", package()], capture_output=True, text=True,
                       check=True)
    names = {line.split()[-1] for line in p.stdout.split("\n") if line}
    top = "./usr/share/doc/touchline/"
    for name, text in (("README.md", read(ROOT, "README.md")),
                       ("docs/proxies.md", read(ROOT, "docs/proxies.md"))):
        for target in re.findall(r"\]\(([^)#:]+)", text):
            path = os.path.normpath(os.path.join(top, os.path.dirname(name), target))
            check("./" + path in names or target == "LICENSE", f"{name} leads to {target}")


def test_lintian_has_nothing_to_say():
    if not shutil.which("lintian"):
        print("     skipped: no lintian here; `make deps-package` installs it")
        return
    p = subprocess.run(["lintian", "--fail-on", "error,warning", package()],
                       capture_output=True, timeout=300)
    equal((p.returncode, p.stdout), (0, b""), p.stdout + p.stderr)


# ---- systemd ---------------------------------------------------------------

def units(folder):
    """Those of make-units.sh, which start what was built."""
    subprocess.run([f"{PACKAGING}/systemd/make-units.sh", BIN, folder], check=True)
    names = sorted(os.listdir(folder))
    equal(names, ["touchline-http@.service", "touchline-repeater@.service",
                  "touchline-router.service",
                  "touchline-tcp@.service", "touchline-ws@.service", "touchline.service"])
    return {name: os.path.join(folder, name) for name in names}


def test_units_are_right_and_well_shut():
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        for name, path in units(folder).items():
            text = read(path)
            check("@HARDENING@" not in text and "@BINDIR@" not in text, name)
            command = re.search("^ExecStart=(.*)$", text, re.M)[1].replace("%i", "0")
            for program in re.findall(r"^Exec\w+=(\S+)", text, re.M):
                check(program.startswith(BIN + "/") or program == "/bin/sh",
                      f"{name}: {program} need not be there")
            options = [w for w in shlex.split(command)[1:] if w.startswith("--")]
            p = subprocess.run([shlex.split(command)[0], "--help"], capture_output=True)
            for option in options:
                check(option in p.stdout.decode(), f"{name}: {option}")
            if not shutil.which("systemd-analyze"):
                print("     skipped: no systemd-analyze here")
                continue
            p = subprocess.run(["systemd-analyze", "verify", "--man=no", path],
                               capture_output=True, timeout=60)
            mine = [line for line in p.stderr.decode().split("\n") if "touchline" in line]
            equal(mine, [], "what systemd-analyze says")
            p = subprocess.run(["systemd-analyze", "security", "--offline=yes",
                                "--threshold=15", path], capture_output=True, timeout=60)
            equal(p.returncode, 0, p.stdout[-300:])


class Filters:
    """System calls by name, in the groups that systemd knows."""

    def __init__(self):
        self.calls, name = {}, None
        p = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True,
                           timeout=60)
        for line in p.stdout.decode().split("\n"):
            if line.startswith(("@", "# @")):
                name = line.strip("# ")
                self.calls[name] = []
            elif line.startswith("    ") and name and "#" not in line:
                self.calls[name].append(line.strip())

    def expand(self, *words):
        return set().union(*(self.expand(*self.calls[w]) if w.startswith("@") else {w}
                             for w in words))

    def allowed(self, unit):
        """Those that a unit lets pass."""
        allowed = set()
        for words in re.findall("^SystemCallFilter=(.*)$", read(unit), re.M):
            named = self.expand(*words.lstrip("~").split())
            allowed = allowed - named if words.startswith("~") else allowed | named
        return allowed


def test_what_the_unit_forbids_nobody_needs():
    """All calls of a whole life, children included, under strace."""
    if not shutil.which("strace") or not shutil.which("systemd-analyze"):
        print("     skipped: no strace, or no systemd-analyze here")
        return
    class Traced(World):
        def args(self, binary, *more):
            trace = ["strace", "-ff", "-qq", "-o", self.base + "/trace"]
            return (trace if binary == "touchline" else []) + super().args(binary, *more)

    with tempfile.TemporaryDirectory(prefix="tl-") as folder, Traced() as w:
        filters = Filters()
        allowed = filters.allowed(units(folder)["touchline.service"])
        check({"read", "seccomp", "landlock_restrict_self"} <= allowed, "the filter is read")
        check(not {"mount", "chroot", "setuid", "ptrace"} & allowed, "the filter is read")
        with w.ws("/v1/ws?channel=a") as c, w.telnet():
            c.item()
            w.publish("a", "x")
            equal(c.message()["data"], "x")
        w.ctl("backup", w.base + "/backup")
        # strace is what we have started; it passes the signal on.
        pid = int(re.search(r"^(\d+) ", read(w.dir, "touchline.lock"))[1])
        os.kill(pid, 15)
        w.proc.wait(DEADLINE)
        used = set()
        for name in os.listdir(w.base):
            if name.startswith("trace."):
                used |= set(re.findall(r"^(\w+)\(", read(w.base, name), re.M))
        check(len(used) > 30, used)
        if os.geteuid() == 0:  # SQLite gives files to their owner; a service is not root
            used -= filters.expand("@chown", "@setuid")
        equal(sorted(used - allowed), [], "needed, and forbidden")


# ---- the container ---------------------------------------------------------

def instructions():
    text = read(PACKAGING, "Containerfile")
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [line.split(None, 1) for line in text.split("\n") if line.strip()]


def test_the_containerfile_names_what_there_is():
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "ENV",
             "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}
    said = instructions()
    equal({word for word, _ in said} - known, set())
    stages = [rest.split()[-1] for word, rest in said if word == "FROM" and " AS " in rest]
    for word, rest in said:
        words = rest.split()
        if word == "COPY" and words[0].startswith("--from="):
            check(words[0][7:] in stages, rest)
        elif word == "COPY":
            for source in words[:-1]:
                check(os.path.exists(os.path.join(ROOT, source)), source)
    config = os.path.join(PACKAGING, "container.conf")
    p = subprocess.run([f"{BIN}/touchline", "--config", config, "--print-config"],
                       capture_output=True)
    equal(p.returncode, 0, p.stderr)
    ports = sorted(re.findall(r"^listen = 0\.0\.0\.0:(\d+)$", p.stdout.decode(), re.M))
    equal(ports, sorted(dict(said)["EXPOSE"].split()), "the ports that it listens on")


def test_the_containers_libraries_are_those_that_the_binaries_want():
    if not shutil.which("dpkg-shlibdeps"):
        print("     skipped: no dpkg-shlibdeps here")
        return
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        os.mkdir(folder + "/debian")
        with open(folder + "/debian/control", "w") as f:
            f.write("Source: touchline\n\nPackage: touchline\nArchitecture: any\n")
        binaries = [f"-e{BIN}/{name}" for name in sorted(os.listdir(BIN))]
        p = subprocess.run(["dpkg-shlibdeps", "-O", *binaries], capture_output=True, cwd=folder)
        equal(p.returncode, 0, p.stderr)
        wanted = set(re.findall(r"([a-z][\w.+-]*)(?: \([^)]*\))?", p.stdout.decode()
                                .split("=", 1)[1])) - {"libc6"}
    install = " ".join(rest for word, rest in instructions() if word == "RUN")
    for name in wanted:
        check(name in install.split(), f"{name} is not installed in the container")


# ---- a bare Debian: minutes, so only when it is asked for --------------------

@contextlib.contextmanager
def bare_debian():
    """The root of one, which is not to be written."""
    if BARE != "1":
        yield BARE
        return
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", folder], check=True,
                       stdout=subprocess.DEVNULL)
        yield folder


if BARE:
    def test_bare_debian_takes_the_package_and_is_bare_again():
        with bare_debian() as lower:
            lives_and_goes(lower)

    def test_bare_debian_with_systemd_runs_the_units():
        with bare_debian() as lower:
            in_namespace(SYSTEMD, lower, package())

    def test_bare_debian_builds_and_runs_the_container():
        with bare_debian() as lower:
            in_namespace(CONTAINER, lower)


# ---- how it is built --------------------------------------------------------

def readelf(path):
    return subprocess.run(["readelf", "--wide", "--file-header", "--segments", "--dynamic",
                           "--dyn-syms", path], capture_output=True, check=True).stdout.decode()


def test_binaries_are_hardened():
    """As those of Debian: what a mistake in them can be used for is little."""
    for name in sorted(os.listdir(BIN)):
        text = readelf(os.path.join(BIN, name))
        if "__asan_init" in text or "__tsan_init" in text:
            print("     skipped: sanitizers have checks of their own")
            return
        for what, pattern in (("any address", r"Type: +DYN "),
                              ("fixed tables that are read-only", r"GNU_RELRO"),
                              ("everything bound at the start", r"FLAGS_1.*\bNOW\b"),
                              ("no code on the stack", r"GNU_STACK( +0x\w+)+ +RW +"),
                              ("guarded stacks", r"\b__stack_chk_fail\b"),
                              ("bounded copies", r"\b__[a-z]+_chk\b")):
            check(re.search(pattern, text), f"{name} lacks: {what}")


def test_nothing_is_compiled_before_what_it_needs_is_installed():
    """In a copy, with a compiler that only notes whether it came too early."""
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        for name in ("gateways", "proto", "router", "store", "tools"):
            shutil.copytree(os.path.join(ROOT, name), os.path.join(folder, name))
        shutil.copy(os.path.join(ROOT, "Makefile"), folder)
        write_script(folder + "/tools/deps.sh",
                     "for _ in 1 2 3 4 5; do [ -e early ] || sleep 0.1; done; touch there")
        write_script(folder + "/cc", "[ -e there ] || touch early; exit 1")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
        p = subprocess.run(["make", "-j4", "CC=./cc", "all"], cwd=folder, env=env,
                           capture_output=True, timeout=DEADLINE)
        check(p.returncode != 0 and os.path.exists(folder + "/there"), p.stderr)
        check(not os.path.exists(folder + "/early"), "compiled without a look")


def write_script(path, text):
    with open(path, "w") as f:
        f.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
