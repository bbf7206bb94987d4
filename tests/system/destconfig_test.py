#!/usr/bin/env python3
"""`sluice destconfig`: edits of destination controls, on the file and through the engine.

Usage: destconfig_test.py BUILD_DIR
"""

import functools
import json
import os
import pwd
import shutil
import stat
import subprocess
import threading

from certificates import Workshop
from control_test import http, sluice, verb
from engine_run import (Run, Skipped, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios)

VERSIONS_MAX = 100  # As engine/controls_store.h has it.

# As an operator writes it, and as a commit does.
BY_HAND = """\
# ours
[Bank.Example]
USE_TLS = require
[.freemail.example]
max_host_concurrency = 20
limit_type = host
limit_apply = system
"""
COMMITTED = """\
[DEFAULT]

[bank.example]
table_tls = required

[.freemail.example]
max_host_concurrency = 20
limit_type = host
limit_apply = system
"""


class Desk:
    """Where commands are given: in a run's folder, whose engine runs or does not."""

    def __init__(self, run, running, table="", **settings):
        self.run, self.running = run, running
        self.table = run.folder / "destinations.ini"
        self.staged = run.folder / "destinations.ini.staged"
        self.history = run.folder / "destinations.ini.history"
        self.engine = run.engine(start=running, table=table, **settings)
        if not running:
            self.engine.write_config()

    def ask(self, *words):
        return sluice(self.run, "destconfig", *words, "--config", "sluice.toml")

    def do(self, *words):
        code, said, errors = self.ask(*words)
        expect_equal((code, errors), (0, ""), f"{words}: the exit code and the errors")
        return said

    def refuse(self, *words, code=1):
        """Nothing has changed. Returns the errors' lines."""
        before = self.files()
        seen, said, errors = self.ask(*words)
        expect_equal(seen, code, f"{words}: the exit code; it said {said!r}, {errors!r}")
        expect(errors, f"{words}: no error is told")
        expect_equal(self.files(), before, f"{words}: the files")
        return errors.splitlines()

    def diff(self):
        return self.do("diff").splitlines()

    def commit(self):
        said = self.do("commit")
        how = "in use\n" if self.running else "no engine runs: it will be in use when one starts\n"
        expect(said.endswith(how), f"the commit said {said!r}")

    def table_version(self):
        return json.loads(verb(self.run, "status", "--json")[1])["table_version"]

    def versions(self):
        """Those of the history, newest first."""
        lines = self.do("history").splitlines()
        return [int(line.split()[0]) for line in lines if line.split()[0].isdigit()]

    def files(self):
        """Name, mode and bytes of all that belongs to the table, but for the empty lock."""
        paths = [*self.run.folder.glob("destinations.ini*"), *self.history.glob("*")]
        return {path: (path.stat().st_mode, path.is_file() and path.read_bytes())
                for path in paths if path.suffix != ".lock"}


def on_file_and_through_engine(table="", **settings):
    """The scenario is given a desk: first without an engine, then with one."""
    def of(scenario):
        @functools.wraps(scenario)
        def both(build):
            for running in (False, True):
                with Run(build) as run:
                    scenario(Desk(run, running, table, **settings))
        return both
    return of


# --- Edits.


@on_file_and_through_engine(BY_HAND)
def edits_are_staged_and_a_commit_puts_them_in_place(desk):
    said = desk.do("new", "shop.example", "concurrency_limit=7", "max_messages_per_connection=3")
    expect("There are currently 4 entries" in said and "commit" in said, said)
    desk.do("edit", "BANK.example", "table_tls=require_verify")
    desk.do("edit", "default", "max_host_concurrency=9")
    desk.do("delete", ".freemail.example")
    expect_equal(desk.table.read_text(), BY_HAND, "the file before the commit")
    expect_equal(desk.diff(), [
        "DEFAULT: max_host_concurrency: default -> 9",
        "bank.example: table_tls: required -> require_verify",
        ".freemail.example: removed",
        ".freemail.example: max_host_concurrency: 20 -> default",
        ".freemail.example: limit_type: host -> default",
        ".freemail.example: limit_apply: system -> default",
        "shop.example: added",
        "shop.example: max_host_concurrency: default -> 7",
        "shop.example: max_messages_per_connection: default -> 3",
        "shop.example: limit_type: default -> host",
        "shop.example: limit_apply: default -> system"], "the differences")
    desk.commit()
    expect_equal(desk.table.read_text(), """\
[DEFAULT]
max_host_concurrency = 9

[bank.example]
table_tls = require_verify

[shop.example]
max_host_concurrency = 7
max_messages_per_connection = 3
limit_type = host
limit_apply = system
""", "the file")
    expect_equal((desk.staged.exists(), desk.diff()), (False, []), "what is staged afterwards")
    expect_equal((desk.history / "000001.ini").read_text(), BY_HAND, "version 1")
    expect("sections that it changed: 4" in desk.do("history"), "the history")


@on_file_and_through_engine(BY_HAND)
def looks_are_at_what_is_staged(desk):
    desk.do("new", "192.0.2.1", "max_messages_per_connection=3")
    rows = [line.split() for line in desk.do("list").splitlines()]
    expect_equal([row[:3] for row in rows[-4:]],
                 [["192.0.2.1", "On", "Default"], ["bank.example", "Default", "Req"],
                  [".freemail.example", "On", "Default"], ["(Default)", "On", "Off"]], "the list")
    expect(" Maximum messages per connection: 3\n" in desk.do("detail", "192.0.2.1"), "detail")
    every = [line for line in desk.do("detail", "ALL").splitlines() if not line.startswith(" ")]
    expect_equal(every, ["192.0.2.1", "bank.example", ".freemail.example", "Default"], "details")
    expect("there is no entry other.example" in desk.refuse("detail", "other.example")[0], "none")


@on_file_and_through_engine(BY_HAND)
def test_tells_what_holds_and_who_says_so(desk):
    desk.do("edit", "default", "max_messages_per_connection=4")

    def told(address):
        rows = (line.split(None, 1) for line in desk.do("test", address).splitlines())
        return {key: " ".join(value.split()) for key, value in rows}
    below = told("joe@a.b.Freemail.example")
    expect("partial" in below["entry"] and ".freemail.example" in below["entry"], below)
    expect(below["max_host_concurrency"].startswith("20 .freemail.example"), below)
    expect(below["max_messages_per_connection"].lower().startswith("4 default"), below)
    expect(below["table_tls"].startswith("off built in"), below)
    itself = told("freemail.example")
    expect(itself["max_host_concurrency"].startswith("500 built in"), itself)
    exactly = told("bank.example")
    expect("exactly" in exactly["entry"] and exactly["table_tls"].startswith("required bank."),
           exactly)
    desk.refuse("test", "joe@no domain")


SOURCES = """\
[[source]]
name = "vg1"
ipv4 = "127.0.0.11"
[[source]]
name = "vg2"
ipv4 = "127.0.0.12"
ipv6 = "::1"
[[source_pool]]
name = "bulk"
sources = ["vg1", "vg2=3"]
[source_map]
"news@" = "bulk"
"127.0.0.5" = "vg1"
"""


@on_file_and_through_engine(profile=SOURCES)
def test_tells_the_source(desk):
    def source(*words):
        lines = desk.do("test", "joe@far.example", *words).splitlines()
        return next(line.split(None, 1)[1] for line in lines if line.startswith("source "))
    expect_equal(source("from=News@a.example"),
                 "bulk: vg1 (127.0.0.11), vg2 (127.0.0.12, ::1) by 3", "by the sender")
    expect_equal(source("from=News@a.example", "client=127.0.0.5"), "vg1 (127.0.0.11)",
                 "the client comes first")
    expect_equal(source("from=<>"), "no rule: the system chooses the address", "of no rule")
    expect("from=SENDER" in source(), "without a sender it does not say what to ask")
    desk.refuse("test", "joe@far.example", "by=anybody")
    desk.refuse("test", "joe@far.example", "client=nobody")


@on_file_and_through_engine()
def options_have_two_spellings(desk):
    desk.do("new", "a.example", "max_host_concurrency=8", "limit_type=host", "limit_apply=system",
            "recipient_limit=100", "recipient_minutes=5", "table_tls=on", "bounce_validation=off")
    desk.do("new", "b.example", "CONCURRENCY_LIMIT=8", "concurrency_limit_type=host",
            "concurrency_limit_apply=system", "recipient_limit=100", "recipient_limit_minutes=5",
            "use_tls=on", "bounce_verification=off")
    sections = dict(part.split("]\n") for part in desk.do("export", "-").split("\n["))
    expect_equal(sections["a.example"].strip(), sections["b.example"].strip(), "the sections")
    expect("max_host_concurrency = 8\n" in sections["a.example"], sections)
    expect(any("twice" in line for line in
               desk.refuse("edit", "a.example", "table_tls=on", "use_tls=on")), "both at once")


@on_file_and_through_engine(BY_HAND)
def what_is_edited_back_is_not_staged(desk):
    desk.do("new", "a.example")
    expect(desk.staged.exists(), "it is staged")
    said = desk.do("delete", "a.example")
    expect("nothing differs" in said, said)
    expect_equal((desk.staged.exists(), desk.table.read_text()), (False, BY_HAND), "the files")
    desk.refuse("commit")


@on_file_and_through_engine(BY_HAND)
def clear_leaves_the_default_and_abandon_leaves_all(desk):
    desk.do("edit", "default", "max_messages_per_connection=4", "--commit")
    desk.do("clear")
    expect_equal(desk.do("export", "-"), "[DEFAULT]\nmax_messages_per_connection = 4\n", "cleared")
    desk.do("abandon")
    expect_equal((desk.staged.exists(), desk.diff()), (False, []), "what is staged")
    expect_equal(desk.refuse("abandon"), ["nothing is staged"], "nothing to abandon")
    desk.do("clear", "--commit")
    expect_equal(desk.table.read_text(), "[DEFAULT]\nmax_messages_per_connection = 4\n", "the file")


@on_file_and_through_engine(BY_HAND)
def rollback_stages_what_was(desk):
    desk.do("clear", "--commit")
    desk.do("new", "late.example", "--commit")
    expect_equal(desk.versions(), [2, 1], "the versions")
    desk.do("rollback", "1")
    expect_equal(desk.diff(), [
        "bank.example: added", "bank.example: table_tls: default -> required",
        ".freemail.example: added", ".freemail.example: max_host_concurrency: default -> 20",
        ".freemail.example: limit_type: default -> host",
        ".freemail.example: limit_apply: default -> system",
        "late.example: removed"], "the differences")
    desk.commit()
    expect_equal(desk.table.read_text(), COMMITTED, "the file")
    expect_equal(desk.versions(), [3, 2, 1], "the versions afterwards")
    for wrong in ("4", "0", "-1", "one", "1.5"):
        desk.refuse("rollback", wrong)


# --- Files that come and go.


@on_file_and_through_engine(BY_HAND)
def export_then_import_is_the_identity(desk):
    desk.do("edit", "default", "recipient_limit=30", "ip_sort_pref=prefer_v4", "--commit")
    desk.do("export", "out.ini")
    out = (desk.run.folder / "out.ini").read_text()
    expect_equal(out, desk.table.read_text(), "the export, and what a commit writes")
    for mode in ([], ["--merge"]):
        desk.do("import", "out.ini", *mode)
        expect_equal((desk.diff(), desk.staged.exists()), ([], False), f"after import {mode}")
    desk.do("clear")
    desk.do("import", "out.ini")
    expect_equal((desk.diff(), desk.do("export", "-")), ([], out), "after clear and import")


@on_file_and_through_engine(BY_HAND)
def import_replaces_or_merges_or_only_looks(desk):
    desk.do("edit", "default", "max_messages_per_connection=4", "--commit")
    desk.run.write("new.ini", "[bank.example]\ntable_tls = off\n[shop.example]\n")
    bank = "bank.example: table_tls: required -> off"
    freemail = [".freemail.example: removed",
                ".freemail.example: max_host_concurrency: 20 -> default",
                ".freemail.example: limit_type: host -> default",
                ".freemail.example: limit_apply: system -> default"]
    before = desk.files()
    expect_equal(desk.do("import", "new.ini", "--dry-run").splitlines(),
                 [bank, *freemail, "shop.example: added"], "what a replacement would change")
    expect_equal(desk.do("import", "--merge", "new.ini", "--dry-run").splitlines(),
                 [bank, "shop.example: added"], "what a merge would change")
    expect_equal(desk.files(), before, "the files")
    desk.do("import", "new.ini", "--merge", "--commit")
    expect_equal(desk.table.read_text(), """\
[DEFAULT]
max_messages_per_connection = 4

[bank.example]
table_tls = off

[.freemail.example]
max_host_concurrency = 20
limit_type = host
limit_apply = system

[shop.example]
""", "merged")
    desk.do("import", "new.ini", "--commit")
    expect_equal(desk.table.read_text(), "[DEFAULT]\nmax_messages_per_connection = 4\n\n"
                 "[bank.example]\ntable_tls = off\n\n[shop.example]\n", "replaced")


@on_file_and_through_engine(BY_HAND)
def import_tells_all_errors_with_their_lines(desk):
    desk.do("new", "staged.example")
    desk.run.write("bad.ini", "[a.example]\nnonsense = 1\nmax_messages_per_connection = 0\n"
                   "[not a domain]\n[b.example]\nmax_messages_per_connection = 5\n")
    for mode in ([], ["--merge"], ["--dry-run"], ["--commit"]):
        lines = desk.refuse("import", "bad.ini", *mode)
        expect_equal([":".join(line.split(":")[:2]) for line in lines],
                     ["bad.ini:2", "bad.ini:3", "bad.ini:4"], "where the errors are")
    expect("missing.ini" in desk.refuse("import", "missing.ini", code=2)[0], "a missing file")


@on_file_and_through_engine()
def large_import_is_taken(desk):
    """100,000 sections."""
    names = sorted(f"d{number:06}.example" for number in range(100_000))
    text = "[DEFAULT]\n" + "".join(f"\n[{name}]\nmax_messages_per_connection = 3\n"
                                   for name in names)
    desk.run.write("large.ini", text)
    desk.do("import", "large.ini", "--commit")
    expect(desk.table.read_text() == text, "the file is another one")


# --- Refusals.


@on_file_and_through_engine(BY_HAND)
def errors_change_nothing(desk):
    desk.do("new", "staged.example", "max_messages_per_connection=2")
    for words in (["new", "staged.example"], ["new", "default"], ["new", "no domain"],
                  ["new", "c.example", "max_host_concurrency=0"], ["new"], ["edit", "bank.example"],
                  ["edit", "other.example", "use_tls=on"],
                  ["edit", "bank.example", "use_tls=maybe"],
                  ["edit", "bank.example", "recipient_minutes=5"],
                  ["edit", "bank.example", "dane_option=mandatory"],
                  ["delete", "other.example"], ["delete", "default"], ["clear", "all"],
                  ["import"], ["detail"], ["test"], ["list", "--commit"], ["nonsense"]):
        desk.refuse(*words, code=2 if words == ["import"] else 1)
    errors = desk.refuse("new", "c.example", "colour=red", "concurrency_limit=1001", "loud",
                         "use_tls=maybe")
    expect_equal([word in line for word, line in
                  zip(("colour", "concurrency_limit", "loud", "use_tls"), errors)], [True] * 4,
                 f"all errors at once: {errors}")
    expect_equal(desk.diff(), ["staged.example: added",
                               "staged.example: max_messages_per_connection: default -> 2"],
                 "what is staged")


def exit_code_is_2_where_nobody_can_be_asked(build):
    with Run(build) as run:
        desk = Desk(run, running=False)
        for words in (["list", "--socket", "nobody.sock"], ["list", "--nonsense"]):
            desk.refuse(*words, code=2)
        run.write("sluice.toml", "hostname = \n")
        errors = desk.refuse("list", code=2)
        expect(any("sluice.toml:1: " in line for line in errors), errors)
        (run.folder / "sluice.toml").unlink()
        desk.refuse("list", code=2)


@on_file_and_through_engine(BY_HAND)
def json_says_the_same(desk):
    expect_equal(json.loads(desk.do("new", "a.example", "--json"))["done"], True, "an edit")
    expect_equal(json.loads(desk.do("diff", "--json")),
                 {"done": True, "text": "a.example: added\n"}, "the differences")
    expect_equal(json.loads(desk.do("export", "-", "--json"))["output"], desk.do("export", "-"),
                 "the export")
    code, said, errors = desk.ask("new", "b.example", "x=1", "y=2", "--json")
    said = json.loads(said)
    expect_equal((code, errors, said["done"], len(said["errors"])), (1, "", False, 2),
                 "a refusal")


@on_file_and_through_engine(BY_HAND)
def commit_of_what_names_a_missing_file_is_refused(desk):
    for option in ("tls_ca_file=missing.pem", "certificate=missing"):
        desk.do("edit", "bank.example", "use_tls=require_verify", option)
        lines = desk.refuse("commit")
        expect("missing" in " ".join(lines), lines)
        expect_equal(desk.table.read_text(), BY_HAND, "the file in use")
        if desk.running:
            expect_equal(desk.table_version(), 1, "the table in use")
        desk.do("abandon")
    desk.do("edit", "bank.example", "use_tls=require_verify", "tls_ca_file=missing.pem")
    desk.refuse("commit")
    root = Workshop(desk.run.folder / "certificates").authority("a root")
    shutil.copy(root.file, desk.run.folder / "missing.pem")
    desk.commit()
    expect("tls_ca_file = missing.pem\n" in desk.table.read_text(), "the file")


@on_file_and_through_engine(BY_HAND, destinations='profile = "extended"')
def extended_profile_lifts_the_ceilings(desk):
    for option in ("concurrency_limit", "max_messages_per_connection", "system_concurrency"):
        desk.do("edit", "bank.example", f"{option}=1000000")
        error, = desk.refuse("edit", "bank.example", f"{option}=1000001")
        expect(error.endswith("must be a whole number from 1 to 1000000"), error)
    desk.commit()
    desk.do("edit", "bank.example", "use_tls=off", "--commit")
    desk.do("import", "destinations.ini", "--merge")
    expect("max_host_concurrency = 1000000\n" in desk.do("export", "-"), "the export")


@on_file_and_through_engine(BY_HAND)
def compatible_profile_tells_of_the_extended_one(desk):
    for option in ("concurrency_limit", "max_messages_per_connection", "system_concurrency"):
        error, = desk.refuse("edit", "bank.example", f"{option}=1001")
        expect('from 1 to 1000; profile = "extended"' in error, error)
    desk.run.write("high.ini", "[a.example]\nsystem_concurrency = 1001\n")
    error, = desk.refuse("import", "high.ini")
    expect('high.ini:2: ' in error and 'profile = "extended"' in error, error)


SLOW = '[[bounce_profile]]\nname = "Slow"\n[bounce_verification]\nkey = "a key"'


@on_file_and_through_engine(BY_HAND, profile=SLOW)
def commit_of_an_unknown_bounce_profile_is_refused(desk):
    for name in ("slow", "Slowly"):
        desk.do("edit", "bank.example", f"bounce_profile={name}")
        lines = desk.refuse("commit")
        expect_equal([line.split("/")[-1] for line in lines],
                     [f"destinations.ini:3: bounce_profile '{name}' is not in sluice.toml"],
                     "the errors")
    desk.do("edit", "bank.example", "bounce_profile=Slow")
    desk.commit()
    expect("[bank.example]\ntable_tls = required\nbounce_profile = Slow\n"
           in desk.table.read_text(), "the file")
    desk.do("edit", "bank.example", "bounce_profile=DEFAULT", "--commit")
    expect_equal(desk.table.read_text(), COMMITTED, "the file")


@on_file_and_through_engine(BY_HAND, profile=SLOW)
def limits_of_each_scope_and_bounces_are_shown(desk):
    desk.do("edit", ".freemail.example", "limit_type=MXIP", "limit_apply=VG",
            "system_concurrency=200", "system_recipient_limit=9000", "bounce_verification=on",
            "bounce_profile=Slow", "--commit")
    expect(desk.table.read_text().endswith("""\
[.freemail.example]
max_host_concurrency = 20
limit_type = MXIP
limit_apply = VG
system_concurrency = 200
system_recipient_minutes = 60
system_recipient_limit = 9000
bounce_validation = on
bounce_profile = Slow
"""), desk.table.read_text())
    rows = {row.split()[0]: row.split()[1:5] for row in desk.do("list").splitlines() if row}
    expect_equal([rows[".freemail.example"], rows["bank.example"], rows["(Default)"]],
                 [["On", "Default", "On", "Slow"], ["Default", "Req", "Default", "Default"],
                  ["On", "Off", "Off", "(Default)"]], "the list")
    expect_equal(desk.do("detail", ".freemail.example"), """\
.freemail.example
 IP Address Preference: Default
 Maximum messages per connection: Default
 Rate Limiting:
  20 concurrent connections
  Default recipient limit
  Limits applied to each mail exchanger IP, per virtual gateway
 Rate Limiting, Whole Domain, System Wide:
  200 concurrent connections
  9000 recipients per 60 minutes
 TLS: Default
 Bounce Verification Tagging: On
 Bounce Profile: Slow
""", "the details")
    told = [" ".join(line.split()) for line in desk.do("test", "a.freemail.example").splitlines()]
    line = desk.table.read_text()[:desk.table.read_text().index("[.freemail")].count("\n") + 1
    for key, value in (("limit_type", "MXIP"), ("limit_apply", "VG"), ("system_concurrency", 200),
                       ("system_recipient_limit", 9000), ("bounce_validation", "on"),
                       ("bounce_profile", "Slow")):
        expect(f"{key} {value} .freemail.example (line {line})" in told, (key, told))


@on_file_and_through_engine(BY_HAND)
def file_edited_by_hand_meanwhile_is_not_overwritten(desk):
    desk.do("new", "a.example")
    by_hand = BY_HAND + "# one more thought\n"
    desk.engine.set_table(by_hand)
    lines = desk.refuse("commit")
    expect("destinations.ini has changed since the edits began" in lines[0], lines)
    desk.do("new", "b.example")
    desk.refuse("commit")
    expect_equal(desk.table.read_text(), by_hand, "the file")
    desk.do("abandon")
    desk.do("new", "a.example")
    desk.commit()
    expect("[a.example]" in desk.table.read_text(), "the file after edits anew")
    expect_equal((desk.history / "000001.ini").read_text(), by_hand, "version 1")


# --- Files and folders.


@on_file_and_through_engine()
def history_is_bounded(desk):
    count = VERSIONS_MAX + 5
    for number in range(1, count + 1):
        desk.do("edit", "default", f"max_messages_per_connection={number}", "--commit")
    expect_equal(desk.versions(), list(range(count, count - VERSIONS_MAX, -1)), "the versions")
    expect_equal(len(list(desk.history.iterdir())), VERSIONS_MAX, "files in the history")
    desk.refuse("rollback", str(count - VERSIONS_MAX))
    oldest = count - VERSIONS_MAX + 1
    desk.do("rollback", str(oldest), "--commit")
    expect_equal(desk.table.read_text(),  # What the commit of that number replaced.
                 f"[DEFAULT]\nmax_messages_per_connection = {oldest - 1}\n", "the file")


@on_file_and_through_engine(BY_HAND)
def file_keeps_its_mode(desk):
    desk.table.chmod(0o640)
    desk.do("new", "a.example", "--commit")
    expect_equal(stat.S_IMODE(desk.table.stat().st_mode), 0o640, "the mode")


def folder_that_may_not_be_written_is_told(build):
    with Run(build) as run:
        if os.geteuid() != 0:
            raise Skipped("needs root, to ask as another user")
        desk = Desk(run, running=False, table=BY_HAND)
        tool = run.folder / "sluice"
        shutil.copy(run.tool("sluice"), tool)
        before = desk.files()
        for words in (["new", "a.example"], ["clear", "--commit"]):
            done = subprocess.run([tool, "destconfig", *words, "--config", "sluice.toml"],
                                  cwd=run.folder, user=pwd.getpwnam("nobody").pw_uid,
                                  capture_output=True, text=True, timeout=60)
            expect_equal(done.returncode, 1, f"the exit code ({done.stderr})")
            expect("destinations.ini" in done.stderr and "Permission denied" in done.stderr,
                   done.stderr)
            expect_equal(desk.files(), before, "the files")


@on_file_and_through_engine(BY_HAND)
def history_that_cannot_be_kept_stops_a_commit(desk):
    desk.do("new", "a.example")
    desk.history.write_text("in the way")
    lines = desk.refuse("commit")
    expect("destinations.ini.history" in lines[0], lines)
    expect_equal(desk.table.read_text(), BY_HAND, "the file")
    desk.history.unlink()
    desk.commit()


@on_file_and_through_engine(BY_HAND)
def refused_commit_leaves_no_version(desk):
    desk.do("new", "a.example")
    (desk.run.folder / "destinations.ini.new").mkdir()
    desk.refuse("commit")
    expect_equal(desk.versions(), [], "versions")


@on_file_and_through_engine(BY_HAND)
def edit_that_cannot_be_committed_is_not_staged(desk):
    desk.refuse("edit", "default", "certificate=missing", "--commit")
    desk.do("new", "a.example")
    desk.refuse("edit", "default", "certificate=missing", "--commit")
    expect_equal(desk.diff(), ["a.example: added"], "what was staged before")


@on_file_and_through_engine(BY_HAND)
def dry_run_commits_nothing(desk):
    desk.do("new", "a.example")
    desk.run.write("other.ini", "[b.example]\n")
    desk.refuse("import", "other.ini", "--dry-run", "--commit")


@on_file_and_through_engine(BY_HAND)
def owner_and_link_are_kept(desk):
    real = desk.run.folder / "real.ini"
    desk.table.rename(real)
    desk.table.symlink_to(real)
    nobody = pwd.getpwnam("nobody")
    os.chown(real, nobody.pw_uid, nobody.pw_gid)
    desk.do("new", "a.example", "--commit")
    expect(desk.table.is_symlink(), "the link is gone")
    expect_equal((real.stat().st_uid, real.stat().st_gid), (nobody.pw_uid, nobody.pw_gid),
                 "the owner")
    expect("[a.example]" in real.read_text(), real.read_text())


@on_file_and_through_engine(BY_HAND)
def nobody_prepares_what_is_written(desk):
    """A link under the temporary name is not followed; and what is made is the table's owner's."""
    victim = desk.run.folder / "victim"
    victim.write_text("precious")
    (desk.run.folder / "destinations.ini.new").symlink_to(victim)
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(desk.table, nobody, -1)
    desk.table.chmod(0o600)
    desk.do("new", "a.example", "--commit")
    expect_equal(victim.read_text(), "precious", "the victim")
    expect(not desk.table.is_symlink(), "the table is a link")
    desk.do("new", "b.example")
    made = [desk.staged, desk.history, desk.history / "000001.ini",
            desk.run.folder / "destinations.ini.lock"]
    for path in made:
        status = path.stat()
        expect_equal((status.st_uid, stat.S_IMODE(status.st_mode) & 0o077), (nobody, 0),
                     f"owner and others' rights of {path.name}")


@on_file_and_through_engine(BY_HAND)
def export_goes_to_what_is_there(desk):
    """A link is followed, and a device stays what it is."""
    place = desk.run.folder / "place"
    place.symlink_to("/dev/null")
    desk.do("export", "place")
    expect(place.is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode), "the device")
    expect("[bank.example]" in desk.do("export", "-"), "on standard output")


@on_file_and_through_engine(BY_HAND)
def what_is_no_text_is_refused(desk):
    desk.refuse("new", "d.example", b"tls_ca_file=\xff.pem", code=2)
    (desk.run.folder / "latin.ini").write_bytes(b"# caf\xe9\n[d.example]\n")
    desk.refuse("import", "latin.ini", code=2)


@on_file_and_through_engine(BY_HAND)
def many_edit_at_once(desk):
    """Each has its turn."""
    threads = [threading.Thread(target=desk.ask, args=("new", f"d{i}.example")) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect_equal(sorted(desk.diff()), sorted(f"d{i}.example: added" for i in range(20)), "edits")


@on_file_and_through_engine()
def broken_table_is_replaced(desk):
    """By a file that says what the default is: else TLS that it required would be lost unseen."""
    desk.table.write_text("[DEFAULT]\ntable_tls = required\nnonsense = 1\n")
    desk.run.write("good.ini", BY_HAND)
    desk.run.write("whole.ini", "[DEFAULT]\ntable_tls = on\n" + BY_HAND)
    desk.refuse("import", "good.ini", "--merge")
    desk.refuse("import", "whole.ini", "--merge")
    expect("destinations.ini:3: " in desk.refuse("import", "good.ini")[0], "the table's error")
    desk.do("import", "whole.ini", "--commit")
    expect("table_tls = on" in desk.table.read_text(), desk.table.read_text())


def folder_that_is_none_is_told(build):
    with Run(build) as run:
        desk = Desk(run, running=False)
        config = run.folder / "sluice.toml"
        config.write_text(config.read_text().replace('"destinations.ini"', '"routes/table.ini"'))
        for words in (["new", "a.example"], ["list"], ["clear"]):
            expect("routes/table.ini" in desk.refuse(*words)[0], "the path")


# --- In the running engine.


def staged_edits_outlive_a_restart(build):
    with Run(build) as run:
        desk = Desk(run, running=True, table=BY_HAND)
        desk.do("new", "a.example")
        wanted, files = desk.diff(), desk.files()
        for end in (desk.engine.drain, desk.engine.kill):
            end()
            expect_equal((desk.diff(), desk.files()), (wanted, files), "while none runs")
            desk.engine.start()
            expect_equal((desk.diff(), desk.files()), (wanted, files), "in the next engine")
        expect_equal(desk.table_version(), 1, "the table in use")
        desk.commit()
        expect_equal(desk.table_version(), 2, "the table in use after the commit")


def commit_is_in_use_at_once(build):
    """Messages a connection, and connections at once, as receivers count them."""
    with Run(build) as run:
        desk = Desk(run, running=True)
        # (messages a connection, connections): each phase has a receiver of its own.
        for version, (messages, connections) in enumerate([(1, 1), (5, 1), (50, 2)], start=2):
            sink = run.sink("--expect", "100", "--fault", "stage=dot,action=delay,delay_ms=10")
            desk.engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
            desk.do("edit", "default", f"max_messages_per_connection={messages}",
                    f"concurrency_limit={connections}", "--commit")
            expect_equal(desk.table_version(), version, "the table in use")
            load = run.load(desk.engine.address, "--messages", "100", "--size", "2k")
            load.end()
            sink.expected()
            expect_once_and_intact(load, sink)
            totals = sink.totals
            expect_equal((totals["messages_on_connection_max"], totals["connections_peak"]),
                         (messages, connections), f"as of tables version {version}")
            expect(totals["connections"] >= 100 // messages, f"{totals['connections']} connections")


def edits_and_refusals_are_not_in_use(build):
    with Run(build) as run:
        desk = Desk(run, running=True, table="[DEFAULT]\nmax_messages_per_connection = 2\n")
        desk.do("edit", "default", "max_messages_per_connection=1")
        desk.refuse("edit", "default", "max_messages_per_connection=0", "--commit")
        expect_equal(desk.table_version(), 1, "the table in use")
        expect_equal(verb(run, "reload")[0], 0, "a reload")  # Of the file, which has not changed.
        sink = run.sink("--expect", "50")
        desk.engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        expect_equal(verb(run, "reload")[0], 0, "a reload")
        load = run.load(desk.engine.address, "--messages", "50", "--size", "2k")
        load.end()
        sink.expected()
        expect_equal(sink.totals["messages_on_connection_max"], 2, "messages on a connection")


def commits_under_load_lose_and_duplicate_nothing(build):
    """One every 10 ms, as long as the load lasts: 20 at least, 500 at most."""
    count = 20_000
    with Run(build) as run:
        sink = run.sink("--expect", str(count))
        desk = Desk(run, running=True, routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(desk.engine.address, "--messages", str(count), "--connections", "20",
                        "--size", "2k", "--domain-count", "20")
        desk.engine.wait_events(1, "Delivery")
        commits, pace = 0, threading.Event()
        while commits < 500 and sink.program.running():
            limits = [f"concurrency_limit={1 + commits % 9}",
                      f"concurrency_limit_type={('host', 'MXIP')[commits // 2 % 2]}",
                      f"concurrency_limit_apply={('system', 'VG')[commits // 4 % 2]}",
                      f"max_messages_per_connection={1 + commits * 7 % 40}"]
            section = ["new" if commits % 2 == 0 else "edit", f"dest-{commits // 2:04}.example"]
            body = json.dumps({"words": [*section, *limits, "--commit"]}).encode()
            status, said = http(run, b"POST /v1/destconfig HTTP/1.1\r\nHost: x\r\nContent-Length: "
                                b"%d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
            expect_equal(status, 200, f"the answer {said!r}")
            commits += 1
            pace.wait(0.01)
        load.end()
        sink.expected()
        expect_once_and_intact(load, sink)
        expect_equal(desk.table_version(), 1 + commits, "the table in use")
        desk.engine.drain()
        seen = {event["table_version"] for event in desk.engine.events("Delivery")}
        expect(commits >= 20 and len(seen) > 5, f"{commits} commits, {len(seen)} tables used")
        return f"{commits} commits, {len(seen)} tables delivered by"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), edits_are_staged_and_a_commit_puts_them_in_place,
                  looks_are_at_what_is_staged, test_tells_what_holds_and_who_says_so,
                  test_tells_the_source,
                  options_have_two_spellings, what_is_edited_back_is_not_staged,
                  clear_leaves_the_default_and_abandon_leaves_all, rollback_stages_what_was,
                  export_then_import_is_the_identity, import_replaces_or_merges_or_only_looks,
                  import_tells_all_errors_with_their_lines, large_import_is_taken,
                  errors_change_nothing, exit_code_is_2_where_nobody_can_be_asked,
                  json_says_the_same, commit_of_what_names_a_missing_file_is_refused,
                  commit_of_an_unknown_bounce_profile_is_refused,
                  limits_of_each_scope_and_bounces_are_shown, extended_profile_lifts_the_ceilings,
                  compatible_profile_tells_of_the_extended_one,
                  file_edited_by_hand_meanwhile_is_not_overwritten, history_is_bounded,
                  file_keeps_its_mode, folder_that_may_not_be_written_is_told,
                  history_that_cannot_be_kept_stops_a_commit, folder_that_is_none_is_told,
                  refused_commit_leaves_no_version, edit_that_cannot_be_committed_is_not_staged,
                  dry_run_commits_nothing, owner_and_link_are_kept,
                  nobody_prepares_what_is_written, export_goes_to_what_is_there,
                  what_is_no_text_is_refused, many_edit_at_once,
                  broken_table_is_replaced,
                  staged_edits_outlive_a_restart, commit_is_in_use_at_once,
                  edits_and_refusals_are_not_in_use,
                  commits_under_load_lose_and_duplicate_nothing)
