#!/usr/bin/env python3
"""Sources (virtual gateways): by which address mail leaves, as the host sees it, and limits by
source and by address of the hosts.

Runs in a network namespace of its own, where the addresses are real: those of the sources, which a
scenario takes away and gives back, and those of the hosts. Needs root.

Usage: sources_test.py BUILD_DIR
"""

import collections
import contextlib
import os
import smtplib
import socket
import socketserver
import subprocess
import sys
import threading

from engine_run import Run, Skipped, build_folder, expect, expect_equal, run_scenarios, wait_until
from mail_catcher import Dialogue
from name_server import A, AAAA, MX, NameServer

NAMESPACE = "SLUICE_TEST_NAMESPACE"
HOST_PORT = 2526
ONE, TWO, THREE = "10.9.0.1", "10.9.0.2", "10.9.0.3"
ONE_SIX, TWO_SIX = "fd09::1", "fd09::2"
HOST, OTHER_HOST, BACKUP_HOST, HOST_SIX = "10.9.1.1", "10.9.1.2", "10.9.1.3", "fd09:1::1"
MESSAGE = "Subject: a message\r\n\r\nIts text.\r\n"

SECTIONS = """\
initial_retry_s = 1
max_retry_s = 1
[dns]
forward = ["{forward}"]
trust_anchor = "none"
[delivery]
port = {port}
allow_addresses = ["10.9.0.0/16", "fd09::/16"]
{sources}
"""

THREE_SOURCES = f"""\
[[source]]
name = "one"
ipv4 = "{ONE}"
ipv6 = "{ONE_SIX}"
hostname = "one.example.net"
[[source]]
name = "two"
ipv4 = "{TWO}"
hostname = "two.example.net"
[[source]]
name = "three"
ipv4 = "{THREE}"
[[source_pool]]
name = "bulk"
sources = ["one", "two=3"]
[source_map]
"one@sender.example" = "one"
"two@" = "two"
"@three.example" = "three"
"@.pool.example" = "bulk"
"""


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"ip {' '.join(words)}: {done.stderr.strip()}")


def add_address(address):
    words = ["-6", "addr", "add", f"{address}/128"] if ":" in address else \
        ["addr", "add", f"{address}/32"]
    ip(*words, "dev", "lo", *(["nodad"] if ":" in address else []))


def remove_address(address):
    ip("addr", "del", f"{address}/{128 if ':' in address else 32}", "dev", "lo")


class HostDialogue(Dialogue):
    """Notes who comes, and holds the reply to the dot until the host lets go."""

    def handle(self):
        with self.server.coming(self.client_address[0]):
            super().handle()

    def command(self, verb, line):
        if verb == b"EHLO":
            name = line.split()[1].decode()
            self.server.names.add((self.client_address[0], name))
        super().command(verb, line)

    def read_data(self):
        data = super().read_data()
        self.server.lets_go.wait(60)
        self.server.took[self.client_address[0]] += len(self.recipients)
        return data


class Host(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, HOST_PORT), HostDialogue)
        self.address, self.caught, self.names = address, [], set()
        self.took = collections.Counter()  # Recipients by who brought them.
        self.here, self.peak = collections.Counter(), collections.Counter()
        self.peak_of_all, self.lock = 0, threading.Lock()
        self.lets_go = threading.Event()
        self.lets_go.set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    @contextlib.contextmanager
    def coming(self, client):
        with self.lock:
            self.here[client] += 1
            self.peak[client] = max(self.peak[client], self.here[client])
            self.peak_of_all = max(self.peak_of_all, sum(self.here.values()))
        try:
            yield
        finally:
            with self.lock:
                self.here[client] -= 1

    def handle_error(self, request, client_address):
        """A session that is cut off is the engine's to speak of."""

    def close(self):
        self.lets_go.set()
        self.shutdown()
        self.server_close()


class Scene:
    """Hosts, a name server, and an engine with three sources."""

    def __init__(self, build, *hosts, sources=THREE_SOURCES, table="", shards=2):
        self.build, self.addresses = build, hosts or (HOST,)
        self.sources, self.table, self.shards = sources, table, shards

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.hosts = {}
            for address in self.addresses:
                self.hosts[address] = Host(address)
                stack.callback(self.hosts[address].close)
            self.host = self.hosts[self.addresses[0]]
            self.run = stack.enter_context(Run(self.build))
            self.names = stack.enter_context(NameServer())
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def domain(self, domain, *addresses, preference=10):
        """A host more of the domain."""
        records, host = self.names.records, f"mx{preference}.{domain}"
        records.setdefault((domain, MX), []).append((preference, host))
        for address in addresses or (HOST,):
            records.setdefault((host, AAAA if ":" in address else A), []).append(address)

    def start(self):
        self.engine = self.run.engine(
            table=self.table, shards=self.shards,
            profile=SECTIONS.format(forward=self.names.forward(), port=HOST_PORT,
                                    sources=self.sources))

    def send(self, sender, domain="far.example", messages=1):
        with smtplib.SMTP(*self.engine.host_and_port()) as client:
            for number in range(messages):
                client.sendmail(sender, [f"reader{number}@{domain}"], MESSAGE)

    def delivered(self, count=1):
        return self.engine.wait_events(count, "Delivery")


def code_of(event):
    code = event["response"]["enhanced_code"]
    return f"{code['class']}.{code['subject']}.{code['detail']}"


def mail_leaves_by_the_source_of_its_sender(build):
    with Scene(build) as scene:
        scene.domain("far.example")
        scene.start()
        scene.send("one@sender.example")
        scene.send("two@anybody.example")
        scene.send("anybody@three.example")
        events = scene.delivered(3)
        expect_equal(sorted(scene.host.took), [ONE, TWO, THREE], "who brought mail")
        expect_equal(sorted(scene.host.names), [(ONE, "one.example.net"), (TWO, "two.example.net"),
                                                (THREE, "mta.example.net")], "names in EHLO")
        by_sender = {event["sender"]: event["egress_source"] for event in events}
        expect_equal(by_sender, {"one@sender.example": "one", "two@anybody.example": "two",
                                 "anybody@three.example": "three"}, "egress_source")
        scene.engine.drain()


def mail_of_no_rule_leaves_as_the_system_chooses(build):
    with Scene(build) as scene:
        scene.domain("far.example")
        scene.start()
        scene.send("other@sender.example")
        scene.delivered()
        expect(not set(scene.host.took) & {ONE, TWO, THREE}, f"it came from {scene.host.took}")
        scene.engine.drain()


def a_pool_shares_its_mail_among_its_sources(build):
    table = "[DEFAULT]\nmax_messages_per_connection = 1\n"
    with Scene(build, table=table) as scene:
        scene.domain("far.example")
        scene.start()
        scene.send("news@a.pool.example", messages=200)
        scene.delivered(200)
        # One in four by weight; five standard deviations of 200 draws are 31.
        expect_equal(sorted(scene.host.took), [ONE, TWO], "who brought mail")
        expect(19 <= scene.host.took[ONE] <= 81, f"shares {scene.host.took}")
        scene.engine.drain()


def the_source_has_an_address_of_the_hosts_family(build):
    with Scene(build, HOST, HOST_SIX) as scene:
        scene.domain("far.example", HOST, HOST_SIX)
        scene.start()
        scene.send("one@sender.example")
        scene.delivered()
        expect_equal(dict(scene.hosts[HOST_SIX].took), {ONE_SIX: 1}, "over IPv6, preferred")
        scene.send("two@sender.example")  # It has no IPv6 address.
        scene.delivered(2)
        expect_equal(dict(scene.hosts[HOST].took), {TWO: 1}, "over IPv4")
        scene.engine.drain()


def without_ipv6_the_other_family_serves(build):
    ip("link", "set", "lo", "up")
    with Scene(build, HOST, HOST_SIX) as scene:
        scene.domain("far.example", HOST, HOST_SIX)
        with ipv6_off():
            scene.start()
            scene.send("one@sender.example")
            scene.delivered()
            expect_equal(dict(scene.hosts[HOST].took), {ONE: 1}, "over IPv4")
            scene.engine.drain()


@contextlib.contextmanager
def ipv6_off():
    """In this namespace. Its addresses go with it."""
    switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
    try:
        with open(switch, "w", encoding="ascii") as file:
            file.write("1")
    except OSError as why:
        raise Skipped(f"IPv6 cannot be switched off here: {why}") from why
    try:
        yield
    finally:
        with open(switch, "w", encoding="ascii") as file:
            file.write("0")
        add_all_six()


def a_source_without_the_family_waits(build):
    with Scene(build, HOST_SIX) as scene:
        scene.domain("six.example", HOST_SIX)
        scene.start()
        scene.send("two@sender.example", domain="six.example")
        event = scene.engine.wait_events(1, "TransientFailure")[0]
        expect_equal(code_of(event), "4.4.4", "the code")
        expect_equal(event["binding_limit"], "source_family", "binding_limit")
        expect_equal(sum(scene.host.took.values()), 0, "recipients taken")
        scene.engine.drain()


def each_source_has_its_connections_and_the_system_its_own(build):
    table = ("[far.example]\nmax_host_concurrency = 2\nlimit_type = host\nlimit_apply = VG\n"
             "system_concurrency = 5\n")
    with Scene(build, table=table) as scene:
        scene.domain("far.example")
        scene.start()
        scene.host.lets_go.clear()
        for sender in ("one@sender.example", "two@sender.example", "x@three.example"):
            scene.send(sender, messages=30)
        wait_until(lambda: scene.host.peak_of_all >= 5, "five connections at once")
        scene.host.lets_go.set()
        scene.delivered(90)
        expect_equal(scene.host.peak_of_all, 5, "connections at once of all sources")
        expect(max(scene.host.peak.values()) <= 2, f"of each source: {scene.host.peak}")
        expect_equal(sum(scene.host.took.values()), 90, "recipients taken")
        scene.engine.drain()


def each_source_has_its_recipients_and_the_system_its_own(build):
    table = ("[far.example]\nrecipient_limit = 5\nrecipient_minutes = 60\nlimit_type = host\n"
             "limit_apply = VG\nsystem_recipient_limit = 12\nsystem_recipient_minutes = 60\n"
             "max_host_concurrency = 500\n")
    with Scene(build, table=table) as scene:
        scene.domain("far.example")
        scene.start()
        scene.send("one@sender.example", messages=8)
        scene.send("two@sender.example", messages=8)
        scene.delivered(10)
        scene.send("x@three.example", messages=8)
        scene.delivered(12)
        expect_equal(dict(scene.host.took), {ONE: 5, TWO: 5, THREE: 2}, "recipients by source")
        scene.engine.drain()


def each_address_of_the_hosts_has_its_connections(build):
    table = ("[far.example]\nmax_host_concurrency = 2\nlimit_type = MXIP\nlimit_apply = system\n")
    with Scene(build, HOST, OTHER_HOST, BACKUP_HOST, table=table) as scene:
        scene.domain("far.example", HOST, OTHER_HOST)
        scene.domain("far.example", BACKUP_HOST, preference=20)
        scene.start()
        for host in scene.hosts.values():
            host.lets_go.clear()
        scene.send("one@sender.example", messages=40)
        first, second = scene.hosts[HOST], scene.hosts[OTHER_HOST]
        wait_until(lambda: first.peak_of_all >= 2 and second.peak_of_all >= 2, "two each")
        for host in scene.hosts.values():
            host.lets_go.set()
        scene.delivered(40)
        expect_equal((first.peak_of_all, second.peak_of_all), (2, 2), "connections at once")
        # A host of a lower preference is for when the others fail, not for when they are full.
        expect_equal(scene.hosts[BACKUP_HOST].peak_of_all, 0, "connections to the backup")
        scene.engine.drain()


def a_source_whose_address_is_gone_is_suspended(build):
    with Scene(build) as scene:
        scene.domain("far.example")
        scene.start()
        remove_address(THREE)
        try:
            scene.send("x@three.example")
            event = scene.engine.wait_events(1, "TransientFailure")[0]
            expect_equal(code_of(event), "4.3.5", "the code")
            expect_equal(event["binding_limit"], "source_suspended", "binding_limit")
            scene.engine.program.wait_line(f"source three: {THREE} is not an address of this")
        finally:
            add_address(THREE)
        scene.engine.program.wait_line(f"source three: {THREE} is back")
        scene.delivered()
        expect_equal(dict(scene.host.took), {THREE: 1}, "who brought it")
        scene.engine.drain()


def the_other_sources_of_the_pool_take_over(build):
    table = "[DEFAULT]\nmax_messages_per_connection = 1\n"
    with Scene(build, table=table) as scene:
        scene.domain("far.example")
        scene.start()
        remove_address(TWO)
        try:
            scene.send("news@a.pool.example", messages=20)
            scene.delivered(20)
            expect_equal(dict(scene.host.took), {ONE: 20}, "who brought it")
            expect_equal(scene.engine.events("TransientFailure"), [], "deferrals")
        finally:
            add_address(TWO)
        scene.engine.drain()


def the_source_of_a_message_outlives_a_crash(build):
    with Scene(build, table="[far.example]\nrecipient_limit = 0\nrecipient_minutes = 60\n"
               "limit_type = host\nlimit_apply = system\n") as scene:
        scene.domain("far.example")
        scene.start()
        scene.send("two@sender.example")
        scene.engine.kill()
        scene.engine.set_table("")
        expect_equal(scene.engine.start(), 1, "messages in the spool")
        scene.delivered()
        expect_equal(dict(scene.host.took), {TWO: 1}, "who brought it")
        scene.engine.drain()


def add_all_six():
    for address in (ONE_SIX, TWO_SIX, HOST_SIX):
        add_address(address)


def enter_namespace():
    """Begins anew in a network namespace, with the addresses of all scenarios on its loopback."""
    if os.environ.get(NAMESPACE):
        ip("link", "set", "lo", "up")
        for address in (ONE, TWO, THREE, HOST, OTHER_HOST, BACKUP_HOST):
            add_address(address)
        add_all_six()
        return
    os.environ[NAMESPACE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def main():
    scenarios = (mail_leaves_by_the_source_of_its_sender,
                 mail_of_no_rule_leaves_as_the_system_chooses,
                 a_pool_shares_its_mail_among_its_sources,
                 the_source_has_an_address_of_the_hosts_family,
                 without_ipv6_the_other_family_serves, a_source_without_the_family_waits,
                 each_source_has_its_connections_and_the_system_its_own,
                 each_source_has_its_recipients_and_the_system_its_own,
                 each_address_of_the_hosts_has_its_connections,
                 a_source_whose_address_is_gone_is_suspended,
                 the_other_sources_of_the_pool_take_over,
                 the_source_of_a_message_outlives_a_crash)
    build = build_folder(__doc__)
    if not os.environ.get(NAMESPACE) and subprocess.run(["unshare", "--net", "true"],
                                                        capture_output=True).returncode != 0:
        for scenario in scenarios:
            print(f"skipped {scenario.__name__}: no network namespace can be had here")
        return
    enter_namespace()
    run_scenarios(build, *scenarios)


if __name__ == "__main__":
    main()
