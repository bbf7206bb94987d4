"""Exim with its built-in defaults, and a configuration that relays."""

from harness.peers.peer import DebianPeer

EXIM = """\
exim_path = {program}
keep_environment = LD_LIBRARY_PATH
spool_directory = {folder}/spool
log_file_path = {folder}/spool/%slog
pid_file_path =
primary_hostname = exim.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
# A delivery needs no root here, since nothing is local; without it, it would need a setuid program.
deliver_drop_privilege = true
# As shipped it takes 20 sessions, and one more asks whether it has started.
smtp_accept_max = 40
# As shipped, it leaves what comes after the tenth message of a session to the next run of its
# queue, half an hour later. Injectors have sessions of a thousand.
smtp_accept_queue_per_connection = 0
acl_smtp_rcpt = accept

begin routers
sink:
  driver = manualroute
  route_list = * 127.0.0.1::{sink_port} byname
  transport = smtp
  self = send

begin transports
smtp:
  driver = smtp

# As Debian ships it.
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
"""


class Exim(DebianPeer):
    name, package = "exim", "exim4-daemon-light"
    note = "a process for each message, and one for its delivery"
    synced = "each message's folder, body and envelope, and later its journal"
    files = ("exim.conf",)

    def configure(self):
        user = self.accounts("Debian-exim")["Debian-exim"]
        self.make_folders("spool", user=user)
        self.write("exim.conf", EXIM.format(program=self.program(), folder=self.folder,
                                            port=self.port, sink_port=self.sink_port))

    def program(self):
        return self.packages.program("usr/sbin/exim4")

    def command(self):
        return self.in_view(self.program(), "-C", self.folder / "exim.conf", "-bdf", "-q30m")
