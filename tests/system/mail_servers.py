"""Postfix, Exim and OpenSMTPD, configured to put mail into maildirs, or to relay it, with TLS or
without. How they are unpacked and started: mail_peers.py.

    peer = Postfix(build, run, [Port(free_port(), certificate)], ["far.example"])
    with peer.start():
        ...                   # Mail to 127.0.0.1 and that port.
    peer.arrived()
"""

import collections
import os
import pwd
import re

from mail_peers import Accounts, Packages, Server
from numbered_mail import mailboxes

OFFERED, DEMANDED, OLD = "offered", "demanded", "old"

# Where a server listens. With a certificate it offers TLS; it may demand it before MAIL, or be OLD:
# speak TLS 1.2 and no later one.
Port = collections.namedtuple("Port", "number certificate kind", defaults=(None, OFFERED))
# Where a server sends a domain's mail: always with TLS, and only to the `host` that a certificate
# of its `ca_file` names. To an OLD one it speaks TLS 1.2. A host that it must refuse has an address
# of its own, since OpenSMTPD counts failures by address.
Relay = collections.namedtuple("Relay", "host address port kind", defaults=(OFFERED,))

NOBODY = pwd.getpwnam("nobody").pw_uid


def own(path, user):
    os.chown(path, user, -1)


class MailServer:
    """Takes mail for the mailboxes of `domains`, and for the domains of `relays`, on its ports."""

    package = ""
    has_old = True     # It can be held to TLS 1.2.
    may_be_broken = False  # Handshakes fail where it is the server.
    received_tls = ""  # What its Received line says of version and cipher, without line ends.
    resumed = ""       # What its log says of a session resumed at a port; nothing: it is silent.
    verified = ""      # What it says of a relay that it has verified: host and version.
    not_relayed = ""   # What it says of mail to a domain whose relay has not the right certificate.

    def __init__(self, build, run, ports, domains=(), relays=None, ca_file=None):
        self.packages = Packages(build, self.package)
        self.run, self.ports, self.domains = run, ports, list(domains)
        self.relays, self.ca_file = relays or {}, ca_file
        self.mail = run.folder / "mail"
        self.mail.mkdir()
        self.readers = [reader for domain in self.domains for reader in mailboxes(domain)]
        self.mounts = {}
        if self.relays:
            run.write("hosts", "127.0.0.1 localhost\n" + "".join(
                f"{relay.address} {relay.host}\n" for relay in self.relays.values()))
            self.mounts[run.folder / "hosts"] = "/etc/hosts"
        self.command = self.configure()

    def start(self):
        """Use it as a block; it runs until the block ends."""
        # It listens in the order of its ports, the last is awaited.
        return Server(self.run, self.packages, self.ports[-1].number, *self.command,
                      mounts=self.mounts)

    def arrived(self):
        """Each recipient and the bytes that came for it. A recipient has a maildir of that name."""
        return [(path.parent.parent.name, path.read_bytes())
                for path in self.mail.glob("*/new/*")]

    def sessions_resumed(self, port):
        return len(re.findall(self.resumed.format(port=port.number), self.log()))

    def has_refused(self, domain):
        """It has not relayed that domain's mail, because of the certificate."""
        pattern = self.not_relayed.format(domain=domain, relay=self.relays[domain])
        return re.search(pattern, self.log())

    def numbers_of(self, kind):
        return [port.number for port in self.ports if port.certificate and port.kind == kind]

    def folders(self, *names, user=0, mode=0o777):
        for name in names:
            (self.run.folder / name).mkdir(mode=mode, parents=True)
            own(self.run.folder / name, user)

    def configure(self):
        """Writes its configuration, and returns the command."""
        raise NotImplementedError

    def log(self):
        """What it has said."""
        raise NotImplementedError


# --- Postfix.

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {folder}/postfix/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
alias_database =
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{folder}/postfix/mailboxes
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{user}
smtpd_tls_received_header = yes
# Also tells of sessions that are resumed.
smtpd_tls_loglevel = 2
transport_maps = texthash:{folder}/postfix/transports
smtp_host_lookup = native
smtp_tls_security_level = secure
smtp_tls_CAfile = {ca_file}
smtp_tls_policy_maps = texthash:{folder}/postfix/policies
smtp_tls_loglevel = 1
"""

POSTFIX_MASTER = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
scache unix - - n - 1 scache
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

POSTFIX_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                  "maildrop", "private", "public", "saved", "trace")


def postfix_listener(port):
    options = [f"syslog_name=postfix/p{port.number}"]
    if port.certificate:
        level = "encrypt" if port.kind == DEMANDED else "may"
        options += [f"smtpd_tls_security_level={level}",
                    f"smtpd_tls_chain_files={port.certificate.key},{port.certificate.chain}"]
    if port.kind == OLD:
        options.append("smtpd_tls_protocols=TLSv1.2")
    options = "".join(f" -o {option}" for option in options)
    return f"127.0.0.1:{port.number} inet n - n - - smtpd{options}\n"


class Postfix(MailServer):
    package = "postfix"
    received_tls = r"\(using TLSv([\d.]+) with cipher (\S+)"
    verified = r"Verified TLS connection established to ([\w.]+)\[.*\]:\d+: TLSv([\d.]+) "
    not_relayed = r"smtp\[.* to=<\w+@{domain}>, .* status=deferred \(Server certificate not "
    resumed = r"/p{port}/smtpd\[.*: Reusing old session"

    def configure(self):
        accounts = Accounts(self.run, "postfix", "postdrop")
        self.mounts.update(accounts.mounts)
        own(self.mail, NOBODY)
        self.folders("queue", "postfix", "queue/pid")
        self.folders("data", *[f"queue/{queue}" for queue in POSTFIX_QUEUES], mode=0o755,
                     user=accounts.numbers["postfix"])
        self.run.write("postfix/main.cf", POSTFIX_MAIN.format(
            folder=self.run.folder, root=self.packages.root, mail=self.mail, user=NOBODY,
            domains=" ".join(self.domains), ca_file=self.ca_file or ""))
        self.run.write("postfix/master.cf",
                       "".join(map(postfix_listener, self.ports)) + POSTFIX_MASTER)
        self.run.write("postfix/mailboxes",
                       "".join(f"{reader} {reader}/\n" for reader in self.readers))
        self.write_relays()
        return (self.packages.program("usr/lib/postfix/sbin/master"), "-d", "-c",
                self.run.folder / "postfix")

    def write_relays(self):
        relays = self.relays.items()
        self.run.write("postfix/transports", "".join(
            f"{domain} smtp:[{relay.host}]:{relay.port}\n" for domain, relay in relays))
        self.run.write("postfix/policies", "".join(
            f"[{relay.host}]:{relay.port} secure protocols=TLSv1.2\n"
            for _, relay in relays if relay.kind == OLD))

    def log(self):
        path = self.run.folder / "postfix" / "log"
        return path.read_text(errors="replace") if path.exists() else ""


# --- Exim.

EXIM = """\
exim_path = {program}
keep_environment = LD_LIBRARY_PATH
spool_directory = {folder}/spool-exim
log_file_path = {folder}/spool-exim/%slog
log_selector = +tls_resumption +incoming_interface
pid_file_path =
primary_hostname = exim.example
domainlist local_domains = {domains}
domainlist relayed_domains = {relayed}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {ports}
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = ${{if inlist{{$received_port}}{{{with_tls}}}{{*}}}}
tls_certificate = ${{extract{{p$received_port}}{{{chains}}}}}
tls_privatekey = ${{extract{{p$received_port}}{{{keys}}}}}
tls_require_ciphers = ${{if inlist{{$received_port}}{{{old}}}{{{tls_1_2}}}{{NORMAL}}}}
tls_resumption_hosts = *
# Deliveries begin at once, by the process that took the message.
deliver_drop_privilege = true
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
recipients_max = 100
acl_smtp_mail = demand_tls
acl_smtp_rcpt = accept_ours

begin acl
demand_tls:
  deny condition = ${{if inlist{{$received_port}}{{{demanding}}}}}
       ! encrypted = *
       message = 530 5.7.0 Must issue a STARTTLS command first
  accept

accept_ours:
  accept domains = +local_domains : +relayed_domains

begin routers
mailboxes:
  driver = accept
  domains = +local_domains
  transport = maildir

relays:
  driver = manualroute
  domains = +relayed_domains
  route_list = {routes}
  transport = relay
  self = send

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {mail}/${{lookup{{$local_part@$domain}}lsearch{{{folder}/mailboxes}}}}
  create_directory
  user = Debian-exim
  return_path_add

relay:
  driver = smtp
  port = 25
  hosts_require_tls = *
  hosts_try_dane =
  hosts_nopass_tls = *
  tls_verify_hosts = *
  tls_verify_certificates = {ca_file}
  tls_require_ciphers = ${{if inlist{{$host}}{{{old_hosts}}}{{{tls_1_2}}}{{NORMAL}}}}

begin retry
* * F,1h,1m
"""


def exim_list(items):
    return " : ".join(map(str, items))


class Exim(MailServer):
    package = "exim4-daemon-light"
    received_tls = r"with esmtps +\(TLS([\d.]+)\) tls (\S+)"
    verified = r" H=([\w.]+) \[[\d.]+\] .*X=TLS([\d.]+):.* CV=yes "
    not_relayed = r" == \w+@{domain} .* TLS session: \(certificate verification failed\)"
    resumed = r" I=\[127\.0\.0\.1\]:{port} P=esmtps X=\S+\* "

    def configure(self):
        accounts = Accounts(self.run, "Debian-exim")
        self.mounts.update(accounts.mounts)
        user = accounts.numbers["Debian-exim"]
        own(self.mail, user)
        self.folders("spool-exim", user=user)
        secured = [port for port in self.ports if port.certificate]
        for port in secured:
            own(port.certificate.key, user)
        # Exim uses no name that came from outside in a path, but what it looked up.
        self.run.write("mailboxes", "".join(f"{reader}: {reader}\n" for reader in self.readers))
        program = self.packages.program("usr/sbin/exim4")
        self.run.write("exim.conf", EXIM.format(
            program=program, folder=self.run.folder, mail=self.mail, ca_file=self.ca_file or "",
            domains=exim_list(self.domains), relayed=exim_list(self.relays),
            ports=exim_list(port.number for port in self.ports),
            with_tls=exim_list(port.number for port in secured),
            chains=" ".join(f"p{port.number}={port.certificate.chain}" for port in secured),
            keys=" ".join(f"p{port.number}={port.certificate.key}" for port in secured),
            old=exim_list(self.numbers_of(OLD)), demanding=exim_list(self.numbers_of(DEMANDED)),
            routes=" ; ".join(f"{domain} {relay.host}::{relay.port} byname"
                              for domain, relay in self.relays.items()),
            old_hosts=exim_list(relay.host for relay in self.relays.values()
                                if relay.kind == OLD), tls_1_2="NORMAL:-VERS-ALL:+VERS-TLS1.2"))
        return program, "-C", self.run.folder / "exim.conf", "-bdf"

    def log(self):
        path = self.run.folder / "spool-exim" / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""


# --- OpenSMTPD.

OPENSMTPD_MAILDIRS = """\
table mailboxes { "@" = "nobody" }
action "maildirs" maildir "%s/%%{dest.user}@%%{dest.domain}" virtual <mailboxes> user nobody
"""


def opensmtpd_listener(port):
    number, certificate = port.number, port.certificate
    at = f"listen on 127.0.0.1 port {number}"
    if not certificate:
        return f"{at} hostname opensmtpd.example\n"
    tls = "tls-require" if port.kind == DEMANDED else "tls"
    return (f'pki p{number} cert "{certificate.chain}"\npki p{number} key "{certificate.key}"\n'
            f"{at} {tls} pki p{number} hostname opensmtpd.example\n")


class OpenSmtpd(MailServer):
    package = "opensmtpd"
    not_relayed = (r"(?s)(\w+) mta connecting address=smtp\+tls://{relay.address}:.*"
                   r"\1 mta error reason=SSL certificate check failed")
    received_tls = r"with ESMTPS id \w+ \(TLSv([\d.]+):([^:]+):"
    has_old = False
    may_be_broken = True  # Debian 12's: OpenSSL 3 does not take the way in which it signs.

    def configure(self):
        own(self.mail, NOBODY)
        self.folders("var-spool", "var-lib/opensmtpd/empty", "run")
        lines = [opensmtpd_listener(port) for port in self.ports]
        lines.append(OPENSMTPD_MAILDIRS % self.mail)
        lines += [f'action "to {domain}" relay helo opensmtpd.example host '
                  f'"smtp+tls://{relay.host}:{relay.port}"\n'
                  f'match from any for domain "{domain}" action "to {domain}"\n'
                  for domain, relay in self.relays.items()]
        lines += [f'match from any for domain "{domain}" action "maildirs"\n'
                  for domain in self.domains]
        self.run.write("smtpd.conf", "".join(lines))
        # Its paths are built in.
        self.mounts.update({
            **Accounts(self.run, "opensmtpd", "opensmtpq").mounts,
            self.run.folder / "var-spool": "/var/spool", self.run.folder / "var-lib": "/var/lib",
            self.run.folder / "run": "/run", self.packages.root / "usr/libexec": "/usr/libexec"})
        if self.ca_file:
            self.mounts[self.ca_file] = "/etc/ssl/certs/ca-certificates.crt"
        return (self.packages.program("usr/sbin/smtpd"), "-d", "-f",
                self.run.folder / "smtpd.conf")

    def start(self):
        self.server = super().start()
        return self.server

    def log(self):
        return "\n".join(self.server.program.lines)
