"""Haraka from npm, with what `haraka --install` writes, and its outbound queue in place of a plugin
that delivers while it receives.
"""

import shutil
import subprocess

import mail_peers
from harness.peers.peer import Peer, Skipped

VERSION = "3.3.4"
NODE_MAJOR_MIN = 20  # As its package says; Debian 12's own is older.
INSTALL_TIME_S = 600

# In place of the plugins that it ships with, which ask DNS, and forward while the sender waits.
# Mail of a session that relays, and that no queue plugin takes, is queued on disk and synced.
PLUGIN = """\
// DNS is not asked for the name of this machine.
exports.hook_lookup_rdns = (next) => next(OK, 'localhost');
exports.hook_connect = (next, connection) => {
  connection.relaying = true;
  next();
};
exports.hook_rcpt = (next) => next(OK);
exports.hook_get_mx = (next) =>
  next(OK, { exchange: '127.0.0.1', port: SINK_PORT, priority: 0 });
"""


class Haraka(Peer):
    name = "haraka"
    note = ("injected without pipelining, since it refuses commands behind the final dot (503, as "
            "of 3.3); a connection to the sink for each message; one process of Node.js")
    synced = "the file of each message"
    files = ("haraka/config/smtp.ini", "haraka/config/plugins", "haraka/plugins/relay_to_sink.js")
    takes_pipelining = False

    def __init__(self, build, folder, sink_port):
        super().__init__(build, folder, sink_port)
        self.node, self.npm = self.need("node"), self.need("npm")
        self.node_version = mail_peers.output_of(self.node, "--version").strip()
        if int(self.node_version.lstrip("v").split(".")[0]) < NODE_MAJOR_MIN:
            raise Skipped(f"it needs Node.js {NODE_MAJOR_MIN}, and here is {self.node_version}")
        self.modules = self.build / "peers" / f"haraka-{VERSION}"
        self.install()

    @staticmethod
    def need(program):
        path = shutil.which(program)
        if path is None:
            raise Skipped(f"there is no {program}")
        return path

    def install(self):
        """Once, and without the scripts and the optional plugins of its packages."""
        if self.program().exists():
            return
        # Whole or not at all: what an install that failed left is no Haraka.
        unfinished = self.modules.with_name(self.modules.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        (unfinished / "package.json").write_text('{"private": true}\n')
        try:
            done = subprocess.run(
                [self.npm, "install", "--no-audit", "--no-fund", "--omit=optional",
                 "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000",
                 f"Haraka@{VERSION}"],
                cwd=unfinished, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=INSTALL_TIME_S, check=False)
        except subprocess.TimeoutExpired:
            raise Skipped(f"npm did not end within {INSTALL_TIME_S} s")
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
            raise Skipped(f"npm install: {' '.join(said[:2]) or 'it failed'}")
        unfinished.rename(self.modules)

    def program(self):
        return self.modules / "node_modules" / "Haraka" / "bin" / "haraka"

    def version(self):
        return f"{VERSION}, node {self.node_version}"

    def configure(self):
        mail_peers.output_of(self.node, self.program(), "--install", self.folder / "haraka")
        with open(self.folder / "haraka/config/smtp.ini", "a") as shipped:
            shipped.write(f"\nlisten=127.0.0.1:{self.port}\n")
        self.write("haraka/config/plugins", "relay_to_sink\n")
        self.write("haraka/plugins/relay_to_sink.js",
                   PLUGIN.replace("SINK_PORT", str(self.sink_port)))

    def command(self):
        return [self.node, self.program(), "--configs", self.folder / "haraka"]
