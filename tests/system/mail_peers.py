"""Other people's mail programs for the interoperability tests, from Debian's packages.

The packages of Debian's mail servers exclude each other, so none is installed: they are unpacked
into BUILD_DIR/peers, which is kept for the next run. A server runs as root in the foreground, with
its own configuration, folders and users, on a port of 127.0.0.1; the programs' names are not in
PATH, and the machine does not know the users.
"""

import contextlib
import functools
import grp
import itertools
import os
import pathlib
import pwd
import random
import re
import signal
import socket
import subprocess

from engine_run import END_TIME_S, START_TIME_S, Failed, Skipped, expect, wait_until

# Where a program may find libraries that its machine lacks.
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu",
                   "lib/aarch64-linux-gnu", "usr/lib/postfix", "usr/lib")
LIBRARY_ROUNDS_MAX = 3  # Libraries of libraries of libraries.


def output_of(*command, folder=None, environment=None):
    done = subprocess.run([str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", check=False,
                          env=environment)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Skipped(f"{' '.join(map(str, command[:4]))}: {' '.join(said)}")
    return done.stdout


class Packages:
    """Debian packages, unpacked below one folder."""

    def __init__(self, build, *names):
        if os.geteuid() != 0:
            raise Skipped("mail servers are started as root")
        self.archives = pathlib.Path(build) / "peers" / "archives"
        self.root = pathlib.Path(build) / "peers" / "root"
        self.archives.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(exist_ok=True)
        try:
            self.fetch(names)
        except OSError as why:
            raise Skipped(f"not a Debian machine: {why}")

    def fetch(self, names):
        for name in names:
            unpacked = self.archives / f"{name}.unpacked"
            if unpacked.exists():
                continue
            self.download(name)
            output_of("dpkg", "-x", self.archive(name), self.root)
            unpacked.touch()
        # A program that changes its user ignores LD_LIBRARY_PATH, and would be root for anybody.
        output_of("find", self.root, "-type", "f", "-perm", "/6000", "-exec", "chmod", "ug-s", "{}",
                  "+")

    def download(self, name):
        command = ("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", name)
        try:
            output_of(*command, folder=self.archives)
        except Skipped:
            update_lists()
            output_of(*command, folder=self.archives)

    def archive(self, name):
        return next(self.archives.glob(f"{name}_*.deb"), None)

    def program(self, path):
        """The path of an unpacked program, with all the libraries it needs."""
        program = self.root / path
        if not program.read_bytes().startswith(b"\x7fELF"):
            return program  # A script.
        for _ in range(LIBRARY_ROUNDS_MAX):
            if "not found" not in output_of("ldd", program, environment=self.environment()):
                return program
            self.fetch(self.libraries())
        raise Skipped(f"{program.name} lacks libraries")

    def libraries(self):
        """What the packages depend on, and is a library not installed here."""
        names = set()
        for archive in self.archives.glob("*.deb"):
            names.update(re.findall(r"\blib[\w.+-]+", output_of("dpkg-deb", "-f", archive,
                                                                "Depends")))
        return sorted(name for name in names if not installed(name))

    def library_path(self):
        return ":".join(str(self.root / folder) for folder in LIBRARY_FOLDERS)

    def environment(self):
        return {**os.environ, "LD_LIBRARY_PATH": self.library_path()}


@functools.cache
def update_lists():
    """The machine may have none, or they name what its mirror has no longer. Once is enough; where
    it fails, the download after it says why."""
    with contextlib.suppress(Skipped):
        output_of("apt-get", "update", "-qq")


def installed(name):
    done = subprocess.run(["dpkg-query", "-W", "-f=${Status}", name], capture_output=True,
                          text=True, check=False)
    return "install ok installed" in done.stdout


class Accounts:
    """The machine's users, and those that a server's package would have made if it had been
    installed, each with a group of its name: in files that the server alone sees as the machine's.
    """

    def __init__(self, run, *names):
        taken = {user.pw_uid for user in pwd.getpwall()}
        taken |= {group.gr_gid for group in grp.getgrall()}
        free = (number for number in range(200, 1000) if number not in taken)
        self.numbers = dict(zip(names, free))
        self.mounts = {run.folder / "passwd": "/etc/passwd", run.folder / "group": "/etc/group"}
        run.write("passwd", self.extended("/etc/passwd", "x:{0}:{0}::/nonexistent:/bin/false"))
        run.write("group", self.extended("/etc/group", "x:{0}:"))

    def extended(self, path, form):
        """The machine's file, with lines of ours in place of those for the same names."""
        lines = pathlib.Path(path).read_text().splitlines()
        lines = [line for line in lines if line.split(":")[0] not in self.numbers]
        lines += [f"{name}:{form.format(number)}" for name, number in self.numbers.items()]
        return "".join(line + "\n" for line in lines)


def free_port():
    """A port that nobody has, and that the kernel gives to no client before a server starts there:
    it takes theirs from 32768 on, unless told otherwise."""
    while True:
        with contextlib.suppress(OSError):
            with socket.create_server(("127.0.0.1", random.randrange(10000, 32768))) as listener:
                return listener.getsockname()[1]


def answers(port):
    """Whether a server greets there."""
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.settimeout(5)
            return client.recv(64).startswith(b"220")
    return False


# In a view of its own of the file system: `SOURCE TARGET ... -- COMMAND ...`.
WITH_MOUNTS = """
set -e
while [ "$1" != -- ]; do
  mount --bind "$1" "$2"
  shift 2
done
shift
exec "$@"
"""


def in_view(packages, command, mounts=None):
    """The command with the packages' libraries, and with these mounts, from what to where, that it
    alone sees: for paths that are built into a program."""
    view = ()
    if mounts:
        pairs = itertools.chain.from_iterable(mounts.items())
        view = ("unshare", "--mount", "sh", "-c", WITH_MOUNTS, "sh", *pairs, "--")
    return (*view, "env", f"LD_LIBRARY_PATH={packages.library_path()}", *command)


class Server:
    """A mail server in the foreground, and all the processes it starts, until the block ends."""

    def __init__(self, run, packages, port, *command, mounts=None):
        self.port = port
        # A group of its own.
        self.program = run.start("setsid", *in_view(packages, command, mounts))

    def __enter__(self):
        try:
            wait_until(lambda: answers(self.port) or not self.program.running(), "a greeting",
                       START_TIME_S)
            started = self.program.running()
        except Failed:
            started = False
        if not started:
            self.end()
            raise Skipped(f"the server does not start: {self.program.said()}")
        return self

    def __exit__(self, *exception):
        self.end()

    def end(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            with contextlib.suppress(Failed):
                wait_until(lambda: self.program.process.poll() is not None and not self.signal(0),
                           "the end of the server", END_TIME_S / 6)
                return

    def signal(self, number):
        """To every process of the group; False when none is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.program.pid, number)
            return True
        return False


def run_to_end(packages, folder, *command, timeout_s=END_TIME_S):
    """A program that sends mail and ends."""
    try:
        done = subprocess.run([str(word) for word in command], cwd=folder, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", env=packages.environment(), check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} did not end within {timeout_s} s")
    expect(done.returncode == 0, f"{command[0]} exited {done.returncode}: "
           f"{(done.stderr or done.stdout)[-500:]}")
