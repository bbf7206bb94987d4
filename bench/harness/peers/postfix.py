"""Postfix with the package's own main.cf and master.cf."""

import re

from harness.peers.peer import DebianPeer

# Appended to Debian's file: it relays for this machine to one host, by its address. Injectors on
# loopback are in mynetworks, so no rate limit of its own counts them. To one host it has as many
# connections as every party here may have: 20, its default_destination_concurrency_limit.
MAIN = """
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
# It ships with the machine's syslog, whose work would be no work of its own.
maillog_file = {folder}/postfix/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
relayhost = [127.0.0.1]:{sink_port}
"""

QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
          "private", "saved", "trace")


class Postfix(DebianPeer):
    name, package = "postfix", "postfix"
    note = "not in its chroot, for want of the folders that an installation makes there"
    synced = "the file of each message"
    files = ("postfix/main.cf", "postfix/master.cf")

    def configure(self):
        users = self.accounts("postfix", "postdrop")
        owner = users["postfix"]
        self.make_folders("queue", "queue/pid")
        self.make_folders("data", *[f"queue/{queue}" for queue in QUEUES], user=owner, mode=0o700)
        self.make_folders("queue/public", "queue/maildrop", user=owner, mode=0o755)
        self.write("postfix/main.cf", self.shipped("main.cf.debian") + MAIN.format(
            folder=self.folder, root=self.packages.root, sink_port=self.sink_port))
        self.write("postfix/master.cf", self.master())

    def shipped(self, name):
        return (self.packages.root / "usr/share/postfix" / name).read_text()

    def master(self):
        """Debian's services and their limits, on our port, and none in a chroot."""
        text = self.shipped("master.cf.dist")
        text = re.sub(r"^smtp( +inet)", rf"127.0.0.1:{self.port}\1", text, flags=re.M)
        return re.sub(r"^(\S+ +(?:unix|inet) +\S +\S +)y", r"\1n", text, flags=re.M)

    def command(self):
        return self.in_view(self.packages.program("usr/lib/postfix/sbin/master"), "-d", "-c",
                            self.folder / "postfix")

    def said(self):
        path = self.folder / "postfix" / "log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return " | ".join(lines[-5:]) or super().said()
