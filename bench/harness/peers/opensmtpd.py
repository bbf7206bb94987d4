"""OpenSMTPD with its built-in defaults, and a configuration that relays."""

from harness.peers.peer import DebianPeer

OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname opensmtpd.example
# As shipped it ends a session after 100 messages; injectors have sessions of a thousand.
smtp limit max-mails 1000
# As shipped it pauses: five seconds between two connections to one address, so that fewer than
# twenty messages a second can leave by one route, whatever they cost. And of twenty connections,
# which every party here may have, it would allow five.
mta limit conn-delay-route 0
mta limit conn-delay-relay 0
mta limit reconn-delay-route 0
mta limit max-conn-per-route 20
mta limit max-conn-per-host 20
action "sink" relay helo opensmtpd.example host "smtp://127.0.0.1:{sink_port}"
match from any for any action "sink"
"""


class OpenSmtpd(DebianPeer):
    name, package = "opensmtpd", "opensmtpd"
    note = "without the pauses between its connections, which would be all that is measured"
    synced = "nothing: a power cut may lose what it promised"
    files = ("smtpd.conf",)

    def configure(self):
        self.accounts("opensmtpd", "opensmtpq")
        self.make_folders("var-spool", "var-lib/opensmtpd/empty", "run")
        self.write("smtpd.conf", OPENSMTPD.format(port=self.port, sink_port=self.sink_port))
        # Its paths are built in.
        self.mounts.update({
            self.folder / "var-spool": "/var/spool", self.folder / "var-lib": "/var/lib",
            self.folder / "run": "/run", self.packages.root / "usr/libexec": "/usr/libexec"})

    def command(self):
        return self.in_view(self.packages.program("usr/sbin/smtpd"), "-d", "-f",
                            self.folder / "smtpd.conf")
