"""A foreign mail server as a relay: it takes mail on a port of 127.0.0.1, queues it durably, and
sends all of it to one host.

    peer = Postfix(build, folder, sink_port)    # Skipped: it cannot be had here, with the reason.
    peer.configure()
    process = peer.start(group, core)           # Also when this returns, it greets.
    ...
    peer.stop()

Everything of it lies in `folder`, that somebody else removes; its programs lie in the build
folder. It sees the machine's users with its own added, and its built-in paths as folders of this
one: nothing is installed, and nothing of it is left. It is as durable as it ships. What is set
beside addresses and paths stands in its configuration with the reason.
"""

import os
import pathlib
import signal
import subprocess

import mail_peers
from engine_run import Failed, Skipped, wait_until

START_TIME_S = 60
END_TIME_S = 30


class Peer:
    name = ""
    # What a reader of the figures has to know of it, beside its configuration.
    note = ""
    # What it syncs before a 250, as it ships (what strace shows of it).
    synced = ""
    # Its configuration, below its folder.
    files = ()
    # It takes all the pipelining that RFC 2920 allows; else its mail is injected without any.
    takes_pipelining = True

    def __init__(self, build, folder, sink_port):
        self.build, self.folder = pathlib.Path(build).resolve(), pathlib.Path(folder)
        self.sink_port, self.port = sink_port, mail_peers.free_port()
        self.mounts = {}
        self.process = None

    def configure(self):
        """Writes its configuration, makes its folders."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError

    def configuration(self):
        """The text of its files by their names; as on any machine."""
        return {name: (self.folder / name).read_text().replace(str(self.folder), "FOLDER")
                .replace(str(self.build), "BUILD") for name in self.files}

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def make_folders(self, *names, user=0, mode=0o755):
        for name in names:
            path = self.folder / name
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
            os.chown(path, user, user)

    def start(self, group, core):
        """In the usage group and on the core, with all that it starts."""
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen(
                group.enter("taskset", "-c", core, *self.command()), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: self.process.poll() is not None or mail_peers.answers(self.port),
                       "a greeting", START_TIME_S)
        except Failed as why:
            raise Skipped(f"it does not start: {why}; {self.said()}")
        if self.process.poll() is not None:
            raise Skipped(f"it does not start: {self.said()}")

    def stop(self):
        """What does not end by itself is ended with the group."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_TIME_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self):
        """The end of its log."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-5:]) or "it said nothing"


class DebianPeer(Peer):
    """Unpacked from Debian's package."""

    package = ""

    def __init__(self, build, folder, sink_port):
        super().__init__(build, folder, sink_port)
        self.packages = mail_peers.Packages(self.build, self.package)

    def version(self):
        archive = self.packages.archive(self.package)
        return mail_peers.output_of("dpkg-deb", "-f", archive, "Version").strip()

    def accounts(self, *names):
        """Their numbers, for a server that sees them as users of the machine."""
        accounts = mail_peers.Accounts(self, *names)
        self.mounts.update(accounts.mounts)
        return accounts.numbers

    def in_view(self, *command):
        return mail_peers.in_view(self.packages, command, self.mounts)
