"""The npm package of tools/js, packed and installed into an empty project, as
somebody would. It is packed in a copy of what it is made of, for tests that run
beside each other."""
import json
import os
import shutil
import subprocess

from world import DEADLINE, ROOT, Lines, check

PEERS = os.path.join(ROOT, "build", "node", "node_modules")
MADE_OF = ("LICENSE", "tools/js", "gateways/http/pages/touchline.js",
           "gateways/http/pages/match.js")


def npm(folder, *args):
    """Its standard output; nothing is fetched."""
    p = subprocess.run(["npm", *args, "--offline", "--no-audit", "--no-fund", "--loglevel=error"],
                       cwd=folder, capture_output=True, timeout=6 * DEADLINE,
                       env={**os.environ, "npm_config_cache": os.path.join(folder, ".npm")})
    check(p.returncode == 0, f"npm {args}: {p.stdout.decode()}{p.stderr.decode()}")
    return p.stdout.decode()


def copied(folder):
    """A copy of what it is made of: the folder with its package.json."""
    tree = os.path.join(folder, "tree")
    for name in MADE_OF:
        there = os.path.join(tree, name)
        os.makedirs(os.path.dirname(there), exist_ok=True)
        copy = shutil.copytree if os.path.isdir(os.path.join(ROOT, name)) else shutil.copy
        copy(os.path.join(ROOT, name), there)
    return os.path.join(tree, "tools", "js")


def pack(folder):
    """Packs it below the folder: (path of the tarball, what is in it)."""
    made = json.loads(npm(copied(folder), "pack", "--json", "--pack-destination", folder))[0]
    return os.path.join(folder, made["filename"]), sorted(f["path"] for f in made["files"])


def empty(folder):
    project = os.path.join(folder, "project")
    os.makedirs(project)
    with open(os.path.join(project, "package.json"), "w") as f:
        json.dump({"name": "empty", "private": True, "type": "module"}, f)
    return project


def install(folder):
    """A project with the package and ws of npm in it; its path."""
    project = empty(folder)
    npm(project, "install", pack(folder)[0], os.path.join(PEERS, "ws"))
    return project


def place(folder):
    """The same without npm, whose two runs take longer than most tests."""
    package, project = copied(folder), empty(folder)
    subprocess.run(["node", "build.mjs"], cwd=package, check=True, timeout=DEADLINE)
    os.makedirs(os.path.join(project, "node_modules"))
    for name, there in (("touchline", package), ("ws", os.path.join(PEERS, "ws"))):
        os.symlink(there, os.path.join(project, "node_modules", name))
    return project


class Node(Lines):
    """A script in a project: its lines of JSON."""

    def __init__(self, project, script, *args):
        self.proc = subprocess.Popen(["node", script, *args], cwd=project,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        super().__init__(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))

    def item(self, deadline=None):
        return json.loads(self.line(deadline))

    def message(self):
        """The next item that is one."""
        while True:
            item = self.item()
            if "data" in item:
                return item

    def close(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
