#!/usr/bin/env python3
"""`sluice tlsverify` before every kind of host: what it says of each level is what delivery does.

The hosts and the expected cells are those of tls_matrix_test.py. Each host is asked once, and must
be judged right under all six levels; and no mail is ever sent.

Usage: tlsverify_test.py BUILD_DIR
"""

import json
import subprocess

import tls_host
from certificates import Workshop
from engine_run import Run, build_folder, expect, expect_equal, run_scenarios
from name_server import NameServer
from tls_host import Script, TlsHosts, offer, server_context
from tls_matrix_test import LEVELS, SECTIONS, Matrix

ACTIONS = {"C": "clear", "R": "clear-anew", "E": "unverified", "V": "verified", "X": "refused"}


class Desk(Matrix):
    """A host for each row, and the command that asks it. The rows take turns in the level that
    their domain is configured with."""

    def build(self):
        self.rows = self.all_rows()
        for number, row in enumerate(self.rows):
            self.add(row, LEVELS[number % len(LEVELS)])
        self.run.engine(routes="".join(self.routes), table="".join(self.table), start=False,
                        profile=SECTIONS.format(forward=self.names.forward(), port=self.mx_port,
                                                ca_file=self.root.file)).write_config()

    def scenarios(self):
        def of(cell):
            def scenario(_build):
                return self.check(cell)
            scenario.__name__ = cell.row.name
            return scenario
        return [of(cell) for cell in self.cells]

    def check(self, cell):
        code, told, _ = ask(self.run, cell.domain, "--json")
        told = json.loads(told)
        expect_equal(told["level"], cell.level, "the configured level")
        expect_equal(len(told["hosts"]), 1, "hosts asked")
        host = told["hosts"][0]
        expect(host["address"].endswith(f":{cell.host.port}"), f"the address: {host['address']}")
        for level, letter in zip(LEVELS, cell.row.cells.split()):
            self.check_level(cell, level, letter, host["levels"][level])
        met = cell.action() in "CREV"
        expect_equal((told["met"], code), (met, 0 if met else 1), "met, and the exit code")
        for seen in cell.host.connections:
            expect_equal(seen.messages, [], "messages sent")
            expect(not any(b"MAIL" in command for command in seen.commands()), "MAIL was said")
        return cell.level

    def check_level(self, cell, level, letter, told):
        expect_equal(told["met"], letter in "CREV", f"{level} is met")
        if letter in ACTIONS:
            expect_equal(told["action"], ACTIONS[letter], f"the action at {level}")
        if letter == "X":
            expect(told["reason"] in cell.row.reasons.split(), f"{level}: {told['reason']}")


def ask(run, domain, *options):
    done = subprocess.run([run.tool("sluice"), "tlsverify", domain, "--config",
                           run.folder / "sluice.toml", *options],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


class Place:
    """A configuration with one good host, for what is asked by hand."""

    def __init__(self, run, hosts, names):
        self.run, self.hosts, self.names = run, hosts, names
        self.root = Workshop(run.folder / "certificates").authority("the root")
        self.host = self.listen(self.root.issue(["mail.example", "*.hosts.example"]))

    def listen(self, certificate, **context):
        return self.hosts.listen(Script(offer(server_context(certificate, **context))))

    def configure(self, routes, table):
        self.run.engine(routes=routes, table=table, start=False,
                        profile=SECTIONS.format(forward=self.names.forward(),
                                                port=self.host.port,
                                                ca_file=self.root.file)).write_config()

    def ask(self, *words):
        return ask(self.run, *words)


def in_place(scenario):
    def with_place(build):
        with Run(build) as run, TlsHosts() as hosts, NameServer() as names:
            return scenario(Place(run, hosts, names))
    with_place.__name__ = scenario.__name__
    return with_place


@in_place
def every_step_is_printed_for_people(place):
    place.configure(f"mail.example 127.0.0.1:{place.host.port}\n",
                    "[mail.example]\ntable_tls = require_verify\n")
    code, told, _ = place.ask("mail.example")
    expect_equal(code, 0, "the exit code")
    seen = place.host.connections[0]
    for words in ("require_verify (Required - Verify)", f"127.0.0.1:{place.host.port}",
                  "> EHLO mta.example.net", "> STARTTLS", "< 220 ", seen.tls["version"],
                  "certificate 1 of 1", "mail.example, *.hosts.example", "EC 256",
                  " * require_verify ", "require_verify is met by "):
        expect(words in told, f"not in what was printed: {words!r}: {told}")
    expect_equal(seen.commands_in_clear, [b"EHLO mta.example.net", b"STARTTLS"], "in clear")
    expect_equal(seen.commands_under_tls, [b"EHLO mta.example.net", b"QUIT"], "under TLS")


@in_place
def an_address_of_a_family_that_is_ruled_out_is_not_asked(place):
    place.configure(f"mail.example 127.0.0.1:{place.host.port}\n",
                    "[mail.example]\ntable_tls = on\nip_sort_pref = REQUIRE_V6\n")
    code, told, _ = place.ask("mail.example")
    expect_equal(code, 1, "the exit code")
    words = "no address that ip_sort_pref = REQUIRE_V6 allows"
    expect(words in told, f"not in what was printed: {words!r}: {told}")
    expect_equal(place.host.connections, [], "connections")


@in_place
def the_next_host_is_asked_where_the_first_will_not_do(place):
    stranger = place.listen(place.root.issue(["stranger.example"]))
    place.configure(f"mail.example 127.0.0.1:{stranger.port}, "
                    f"127.0.0.1:{place.host.port}/pri=10\n",
                    "[mail.example]\ntable_tls = require_verify\n")
    code, told, _ = place.ask("mail.example", "--json")
    told = json.loads(told)
    expect_equal((code, told["met"]), (0, True), "met")
    expect_equal([host["levels"]["require_verify"]["reason"] for host in told["hosts"]],
                 ["name", ""], "the reasons")


@in_place
def all_hosts_are_asked_where_that_is_wanted(place):
    other = place.listen(place.root.issue(["mail.example"]))
    place.configure(f"mail.example 127.0.0.1:{place.host.port}, 127.0.0.1:{other.port}/pri=10\n",
                    "[mail.example]\ntable_tls = require_verify\n")
    code, told, _ = place.ask("mail.example", "--json", "--all")
    expect_equal((code, len(json.loads(told)["hosts"])), (0, 2), "hosts asked")


@in_place
def one_host_of_the_route_is_judged_as_of_the_route(place):
    other = place.listen(place.root.issue(["mail.example"]))
    place.configure(f"mail.example 127.0.0.1:{other.port}, 127.0.0.1:{place.host.port}/pri=10\n",
                    "[mail.example]\ntable_tls = require_verify\n")
    code, told, _ = place.ask("mail.example", f"127.0.0.1:{place.host.port}", "--json")
    told = json.loads(told)
    expect_equal((code, len(told["hosts"]), len(told["route"]["hosts"])), (0, 1, 2),
                 "code, hosts asked, hosts of the route")
    expect_equal(other.connections, [], "connections to the other host")


@in_place
def a_host_that_is_named_stands_for_the_route(place):
    place.configure("other.example 127.0.0.1:9\n",
                    "[mail.example]\ntable_tls = require_verify\n"
                    "[far.example]\ntable_tls = require_verify\n")
    words = [f"127.0.0.1:{place.host.port}", "--json"]
    expect_equal(place.ask("mail.example", *words)[0], 0, "the exit code for its name")
    code, told, _ = place.ask("far.example", *words)
    levels = json.loads(told)["hosts"][0]["levels"]
    expect_equal((code, levels["require_verify"]["reason"], levels["required"]["action"]),
                 (1, "name", "unverified"), "for another name")


@in_place
def a_level_of_off_needs_no_tls(place):
    place.configure(f"mail.example 127.0.0.1:{place.host.port}\n", "")
    code, told, _ = place.ask("mail.example", "--json")
    levels = json.loads(told)["hosts"][0]["levels"]
    expect_equal((code, levels["off"]["met"], levels["require_verify"]["action"]),
                 (0, True, "verified"), "off, and the others judged all the same")


@in_place
def nobody_there_meets_no_level(place):
    place.configure("mail.example 127.0.0.1:1\n", "")
    code, told, _ = place.ask("mail.example", "--json")
    host = json.loads(told)["hosts"][0]
    expect_equal((code, host["failure"]), (1, "no connection: Connection refused"), "the failure")
    expect("levels" not in host, "nothing was judged")


@in_place
def a_silent_host_costs_the_patience_that_was_asked_for(place):
    silent = place.hosts.listen(Script(tls_host.silence))
    place.configure(f"mail.example 127.0.0.1:{silent.port}\n",
                    "[mail.example]\ntable_tls = required\n")
    code, told, _ = place.ask("mail.example", "--json", "--timeout", "0.2")
    level = json.loads(told)["hosts"][0]["levels"]["required"]
    expect_equal((code, level["reason"]), (1, "starttls-timeout"), "the reason")


@in_place
def what_a_host_says_writes_nothing_to_the_terminal(place):
    rude = place.hosts.listen(Script(tls_host.answer("454 4.7.0 \x1b[2Jno\x07")))
    place.configure(f"mail.example 127.0.0.1:{rude.port}\n", "")
    for options in ([], ["--json"]):
        told = place.ask("mail.example", *options)[1]
        expect("no?" in told and "\x1b" not in told and "\x07" not in told, repr(told))


@in_place
def what_cannot_be_asked_is_said(place):
    place.configure(f"mail.example 127.0.0.1:{place.host.port}\n", "")
    for words, why in ((["bad domain!"], "domain"), (["mail.example", "a,b"], "one host"),
                       (["mail.example", "host.example:99999"], "port"),
                       (["mail.example", "--timeout", "0"], "timeout"), ([""], "domain")):
        code, told, errors = place.ask(*words)
        expect_equal((code, told), (2, ""), f"{words}: the exit code and what was printed")
        expect(why in errors.lower() and errors.count("\n") == 1, f"{words}: {errors!r}")


@in_place
def errors_of_the_configuration_have_their_lines(place):
    place.configure("", "[mail.example]\ntable_tls = sometimes\n")
    code, _, errors = place.ask("mail.example")
    expect_equal(code, 2, "the exit code")
    expect("destinations.ini:2: " in errors, errors)


@in_place
def certificates_that_the_configuration_names_must_be_there(place):
    place.configure(f"mail.example 127.0.0.1:{place.host.port}\n",
                    "[mail.example]\ntable_tls = on\ncertificate = missing\n")
    code, _, errors = place.ask("mail.example")
    expect_equal(code, 2, "the exit code")
    expect("missing" in errors, errors)


@in_place
def an_unknown_domain_has_no_host(place):
    place.configure("mail.example 127.0.0.1:9\n", "")
    code, told, _ = place.ask("elsewhere.example", "--json")
    told = json.loads(told)
    expect_equal((code, told["hosts"]), (1, []), "hosts asked")
    expect(told["route"]["reason"], "a reason why there is no route")


SCENARIOS = [every_step_is_printed_for_people, the_next_host_is_asked_where_the_first_will_not_do,
             an_address_of_a_family_that_is_ruled_out_is_not_asked,
             all_hosts_are_asked_where_that_is_wanted,
             one_host_of_the_route_is_judged_as_of_the_route,
             a_host_that_is_named_stands_for_the_route, a_level_of_off_needs_no_tls,
             nobody_there_meets_no_level, a_silent_host_costs_the_patience_that_was_asked_for,
             what_a_host_says_writes_nothing_to_the_terminal, what_cannot_be_asked_is_said,
             errors_of_the_configuration_have_their_lines,
             certificates_that_the_configuration_names_must_be_there, an_unknown_domain_has_no_host]


def main():
    build = build_folder(__doc__)
    with Run(build) as run, TlsHosts() as hosts, NameServer() as names:
        desk = Desk(run, hosts, names)
        desk.build()
        run_scenarios(build, *desk.scenarios(), *SCENARIOS)


if __name__ == "__main__":
    main()
