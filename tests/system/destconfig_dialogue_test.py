#!/usr/bin/env python3
"""`sluice destconfig` without a command: the appliance's dialogue, on a terminal and by a pipe.

Prompts are the transcript's of the appliance's manual, and of its notes on limits. What an answer
comes to is read from the table with the batch commands.

Usage: destconfig_dialogue_test.py BUILD_DIR
"""

import re
import signal
import subprocess

from control_test import verb
from destconfig_test import Desk, on_file_and_through_engine
from engine_run import QUICK_RETRIES, Run, build_folder, expect, expect_equal, run_scenarios
from terminal import Terminal

# Bounce profiles and certificates by name; no engine starts with these files.
NAMES = QUICK_RETRIES + """
[[bounce_profile]]
name = "tls_failed"
[[certificate]]
name = "mta-2026"
certificate = "mta.pem"
key = "mta.key"
"""

MENU = """\
Choose the operation you want to perform:
- SETUP - Change global settings.
- NEW - Create a new entry.
- EDIT - Modify an entry.
- DELETE - Remove an entry.
- DEFAULT - Change the default.
- LIST - Display a summary list of all entries.
- DETAIL - Display details for one destination or all entries.
- CLEAR - Remove all entries.
- IMPORT - Import tables from a file.
- EXPORT - Export tables to a file.
[]> """

WORDS = ["SETUP", "NEW", "EDIT", "DELETE", "DEFAULT", "LIST", "DETAIL", "CLEAR", "IMPORT", "EXPORT"]
STAGED = "Changes are staged: commit, diff or abandon.\n"
LEFT_STAGED = "Changes are staged; 'sluice destconfig commit' puts them in place.\n"

# What is asked about a domain, in order; {} is the domain.
DOMAIN = "Enter the domain you wish to configure.\n[]> "
LIMIT = "Do you wish to configure a concurrency limit for {}? [Y]> "
CONNECTIONS = 'Enter the max concurrency limit for "{}".\n[500]> '
MESSAGES = "Do you wish to apply a messages-per-connection limit to this domain? [N]> "
PER_CONNECTION = 'Enter the max number of messages per connection for "{}".\n[50]> '
RECIPIENTS = "Do you wish to apply a recipient limit to this domain? [N]> "
MINUTES = "Enter the number of minutes used to measure the recipient limit.\n[60]> "
PER_MINUTES = 'Enter the max number of recipients per 60 minutes for "{}".\n[]> '
TYPE = """\
Select how you want to apply the limits for {0}:
1. One limit applies to the entire domain {0}
2. Separate limit for each mail exchanger IP address
[1]> """
APPLY = """\
Select how the limits will be enforced:
1. System Wide
2. Per Virtual Gateway(tm)
[1]> """
TLS = "Do you wish to apply a specific TLS setting for this domain? [N]> "
LEVELS = """\
Do you want to use TLS support?
1. No
2. Preferred
3. Required
4. Preferred - Verify
5. Required - Verify
6. Required - Verify Hosted Domains
[1]> """
NOTICE = ("You have chosen to enable TLS. Please use the 'certconfig' command to ensure that there "
          "is a valid certificate configured.\n\n")
TAGGING = ("Do you wish to apply a specific bounce verification address tagging setting for this "
           "domain? [N]> ")
TAGS = "Perform bounce verification address tagging? [N]> "
PROFILE = "Do you wish to apply a specific bounce profile to this domain? [N]> "
PROFILES = "Please choose a bounce profile to apply:\n1. Default\n2. tls_failed\n[1]> "
IP = "Do you wish to apply a specific IP sort preference to this domain? [N]> "
PREFERENCES = """\
Please choose the IP sort preference to apply:
1. IPv6 Preferred
2. IPv6 Required
3. IPv4 Preferred
4. IPv4 Required
[1]> """
GATES = [LIMIT, MESSAGES, RECIPIENTS, TLS, TAGGING, PROFILE, IP]

# An entry that says all that this version enforces, beside one that says nothing.
TABLE = """\
[DEFAULT]

[other.example]

[x.example]
max_host_concurrency = 20
max_messages_per_connection = 5
recipient_minutes = 10
recipient_limit = 180
limit_type = host
limit_apply = system
ip_sort_pref = REQUIRE_V4
table_tls = on_verify
"""


def count(entries):
    if entries == 1:
        return "There is currently 1 entry configured.\n"
    return f"There are currently {entries} entries configured.\n"


def menu(entries, staged=False):
    return count(entries) + (STAGED if staged else "") + "\n" + MENU


class Dialogue(Terminal):
    """The program on a terminal, its menu shown. What it says is told of from the answer on."""

    def __init__(self, desk):
        super().__init__([desk.run.tool("sluice"), "destconfig", "--config", "sluice.toml"],
                         desk.run.folder)
        self.opening = self.said()

    def said(self):
        return self.read_until(r"\]> $")

    def answer(self, *answers):
        """What is said to the last of them."""
        for answer in answers:
            self.type(answer + "\r")
            said = self.said()
            expect(said.startswith(answer + "\n\n"), f"{said!r} is not behind '{answer}'")
        return said[len(answer) + 2:]

    def expect_answers(self, *steps):
        """Each an answer and all that must be said to it."""
        for answer, wanted in steps:
            expect_equal(self.answer(answer), wanted, f"what is said to '{answer}'")

    def to_menu(self, prompt, answer_to=lambda prompt: ""):
        """The prompts from this one on, and the menu; each is answered as `answer_to` says."""
        prompts = [prompt]
        while not prompts[-1].endswith(MENU):
            expect(len(prompts) < 20, f"the menu does not come back: {prompts[-3:]}")
            prompts.append(self.answer(answer_to(prompts[-1])))
        return prompts

    def leave(self, said="", code=0):
        self.type("\r")
        expect_equal(self.end(), (code, "\n\n" + said), "the exit code and the last words")
        expect(self.left_as_found(), "the terminal is not as it was")


def section(desk, name):
    """What the table says of it, as lines."""
    parts = desk.do("export", "-").split("\n\n")
    return next(part for part in parts if part.startswith(f"[{name}]")).splitlines()[1:]


def in_row(dialogue, answers, prompts):
    """The answers are given one by one, and their prompts are these."""
    dialogue.expect_answers(*zip(answers, prompts))


# --- The appliance's transcript.


@on_file_and_through_engine("[other.example]\n")
def transcript_is_the_appliances(desk):
    with Dialogue(desk) as dialogue:
        expect_equal(dialogue.opening, menu(2), "the menu")
        dialogue.expect_answers(
            ("new", DOMAIN),
            ("example.com", LIMIT.format("example.com")),
            ("N", MESSAGES), ("N", RECIPIENTS), ("N", TLS), ("Y", LEVELS), ("3", NOTICE + TAGGING),
            ("N", PROFILE), ("N", IP), ("N", menu(3, staged=True)))
        listed = dialogue.answer("list")
        rows = [line.split() for line in listed.split("\n\n")[0].splitlines()[3:]]
        expect_equal(rows, [["example.com", "Default", "Req", "Default", "Default", "Default"],
                            ["other.example"] + ["Default"] * 5,
                            ["(Default)", "On", "Off", "Off", "(Default)", "Prefer", "IPv6"]],
                     "the list")
        expect(listed.endswith("\n\n" + menu(3, staged=True)), listed)
        dialogue.leave(LEFT_STAGED)
    expect_equal(section(desk, "example.com"), ["table_tls = required"], "what is staged")


@on_file_and_through_engine()
def limits_are_asked_for_in_order(desk):
    """All of the branches of NEW, as the notes on limits have them."""
    with Dialogue(desk) as dialogue:
        expect_equal(dialogue.opening, menu(1), "the menu")
        dialogue.answer("NEW")
        in_row(dialogue, ["x.example", "Y", "20", "y", "5", "YES", "", "180", "1", "1", "n", "n",
                          "n"],
               [prompt.format("x.example") for prompt in
                (LIMIT, CONNECTIONS, MESSAGES, PER_CONNECTION, RECIPIENTS, MINUTES, PER_MINUTES,
                 TYPE, APPLY, TLS, TAGGING, PROFILE, IP)])
        expect_equal(dialogue.answer("y"), PREFERENCES, "the last question")
        expect_equal(dialogue.answer("3"), menu(2, staged=True), "the menu")
        dialogue.leave(LEFT_STAGED)
    expect_equal(sorted(section(desk, "x.example")), [
        "ip_sort_pref = PREFER_V4", "limit_apply = system", "limit_type = host",
        "max_host_concurrency = 20", "max_messages_per_connection = 5", "recipient_limit = 180",
        "recipient_minutes = 60"], "what is staged")


def tagging_and_profiles_are_asked_for(build):
    with Run(build) as run, Dialogue(Desk(run, running=False, profile=NAMES)) as dialogue:
        dialogue.answer("new", "x.example", "n", "n", "n")
        in_row(dialogue, ["n", "y", "n", "y", "1", "n"],
               [TAGGING, TAGS, PROFILE, PROFILES, IP, menu(2, staged=True)])


def kind_of_limit_is_asked_for_behind_a_limit(build):
    """Behind connections or recipients; messages per connection have none."""
    with Run(build) as run, Dialogue(Desk(run, running=False)) as dialogue:
        for number, limits in enumerate(["", "c", "m", "r", "cm", "cr", "mr", "cmr"]):
            name = f"d{number}.example"
            dialogue.answer("new", name)
            said = dialogue.answer(*(["y", ""] if "c" in limits else ["n"]))
            expect_equal(said, MESSAGES, limits)
            said = dialogue.answer(*(["y", ""] if "m" in limits else ["n"]))
            expect_equal(said, RECIPIENTS, limits)
            said = dialogue.answer(*(["y", "", "9"] if "r" in limits else ["n"]))
            if "c" in limits or "r" in limits:
                expect_equal(said, TYPE.format(name), limits)
                expect_equal(dialogue.answer(""), APPLY, limits)
                said = dialogue.answer("")
            expect_equal(said, TLS, limits)
            dialogue.answer("", "", "", "")


@on_file_and_through_engine(TABLE)
def no_means_inherit(desk):
    """Each attribute that the entry says is left out by one no, and the others are as before."""
    said = section(desk, "x.example")
    for gate, keys in ((0, ["max_host_concurrency"]), (1, ["max_messages_per_connection"]),
                       (2, ["recipient_minutes", "recipient_limit"]), (3, ["table_tls"]),
                       (6, ["ip_sort_pref"])):
        with Dialogue(desk) as dialogue:
            asked = GATES[gate].format("x.example").split("[")[0]
            dialogue.to_menu(dialogue.answer("edit", "x.example"),
                             lambda prompt: "n" if asked in prompt else "")
            dialogue.leave(LEFT_STAGED)
        expect_equal(section(desk, "x.example"),
                     [line for line in said if line.split(" ")[0] not in keys], f"without {keys}")
        desk.do("abandon")
    with Dialogue(desk) as dialogue:
        dialogue.answer("edit", "x.example", *["n"] * 7)
        dialogue.leave(LEFT_STAGED)
    expect_equal(section(desk, "x.example"), [], "an entry all of whose attributes are inherited")


def levels_have_a_word_each(build):
    """In the list, and in the table."""
    with Run(build) as run:
        desk = Desk(run, running=False)
        levels = [("Off", "off"), ("Pref", "on"), ("Req", "required"), ("Pref/Verif", "on_verify"),
                  ("Req/Verif", "require_verify"), ("Req/Verif Hosted", "require_verify_hosted")]
        with Dialogue(desk) as dialogue:
            for number in range(1, 7):
                dialogue.answer("new", f"d{number}.example", "n", "n", "n", "y")
                said = dialogue.answer(str(number))
                expect_equal(said, ("" if number == 1 else NOTICE) + TAGGING, f"level {number}")
                dialogue.answer("", "", "")
            listed = dialogue.answer("list").splitlines()
        for number, (word, key) in enumerate(levels, 1):
            row = next(line for line in listed if line.startswith(f"d{number}.example"))
            expect_equal(re.split("  +", row)[2], word, "the list's word")
            expect_equal(section(desk, f"d{number}.example"), [f"table_tls = {key}"], "the table's")


# --- Answers that are wrong.


def numbers_are_taken_within_their_ranges(build):
    thousand, minutes, milliard = "from 1 to 1000.", "from 1 to 60.", "from 0 to 1000000000."
    with Run(build) as run:
        desk = Desk(run, running=False)
        rounds = [("1", "1", "1", "0"), ("1000", "1000", "60", "1000000000")]
        with Dialogue(desk) as dialogue:
            for number, (connections, messages, period, recipients) in enumerate(rounds):
                dialogue.answer("new", f"d{number}.example", "y")
                for wrong_ones, limit, right, go_on in (
                        (["0", "1001", "-1", "1.5", "x", "10000000000"], thousand, connections,
                         ["y"]),
                        (["0", "1001", "-1", "all"], thousand, messages, ["y"]),
                        (["0", "61", "-1"], minutes, period, []),
                        (["", "1000000001", "-1", "4294967296"], milliard, recipients, [])):
                    for wrong in wrong_ones:
                        said = dialogue.answer(wrong)
                        expect(said.startswith("The answer must be a whole number " + limit), said)
                    said = dialogue.answer(right, *go_on)
                    expect("must be" not in said, said)
                dialogue.answer(*[""] * 6)
        for number, values in enumerate(rounds):
            names = ("max_host_concurrency", "max_messages_per_connection", "recipient_minutes",
                     "recipient_limit")
            seen = section(desk, f"d{number}.example")
            expect_equal([line for line in seen if line.split(" ")[0] in names],
                         [f"{name} = {value}" for name, value in zip(names, values)], "the table")


def wrong_words_are_told_the_right_ones(build):
    with Run(build) as run, Dialogue(Desk(run, running=False)) as dialogue:
        for wrong in ("nonsense", "ne", "new x.example", "1", "[]"):
            said = dialogue.answer(wrong)
            expect(said.startswith("The answer must be one of " + ", ".join(WORDS)), said)
            expect(said.endswith("\n" + MENU), said)
        dialogue.answer("nEw")
        for wrong in ("no domain", "a..example", "all", "[192.0.2.1"):
            said = dialogue.answer(wrong)
            expect(said.endswith("\n" + DOMAIN) and len(said) > len(DOMAIN) + 1, said)
        dialogue.answer("x.example")
        for wrong in ("maybe", "1", "yn"):
            expect_equal(dialogue.answer(wrong),
                         "The answer must be Y or N.\n" + LIMIT.format("x.example"), wrong)
        dialogue.answer("no", "NO", "n", "yes")
        for wrong in ("0", "7", "-1", "Require", "3."):
            expect_equal(dialogue.answer(wrong), "The answer must be a number from 1 to 6, or the "
                         "words beside it.\n" + LEVELS, wrong)
        expect_equal(dialogue.answer("required - VERIFY"), NOTICE + TAGGING, "a level's words")


# --- Operations on entries.


@on_file_and_through_engine(TABLE)
def edit_offers_what_the_entry_says(desk):
    with Dialogue(desk) as dialogue:
        dialogue.answer("edit")
        prompts = dialogue.to_menu(dialogue.answer("X.Example"))
        expect_equal([prompt.split("\n")[-1] for prompt in prompts[:-1]],
                     [LIMIT.format("x.example"), "[20]> ", MESSAGES.replace("[N]", "[Y]"), "[5]> ",
                      RECIPIENTS.replace("[N]", "[Y]"), "[10]> ", "[180]> ", "[1]> ", "[1]> ",
                      TLS.replace("[N]", "[Y]"), "[4]> ", TAGGING, PROFILE,
                      IP.replace("[N]", "[Y]"), "[4]> "], "what is offered")
        expect_equal(prompts[-1], menu(3), "the menu: nothing is staged")
        expect('recipients per 10 minutes for "x.example"' in prompts[6], prompts[6])
        dialogue.answer("edit", "x.example", "", "21", "", "", "n", "", "", "y", "2", "", "", "n")
        dialogue.leave(LEFT_STAGED)
    expect_equal(desk.diff(), [
        "x.example: max_host_concurrency: 20 -> 21",
        "x.example: recipient_minutes: 10 -> default",
        "x.example: recipient_limit: 180 -> default",
        "x.example: ip_sort_pref: REQUIRE_V4 -> default",
        "x.example: table_tls: on_verify -> on"], "the differences")


@on_file_and_through_engine(TABLE)
def entry_that_is_there_is_not_new(desk):
    before = desk.files()
    with Dialogue(desk) as dialogue:
        said = dialogue.answer("new", "X.EXAMPLE")
        expect("x.example" in said and "use EDIT" in said and said.endswith(menu(3)), said)
        said = dialogue.answer("new", "default")
        expect("DEFAULT" in said and said.endswith(menu(3)), said)
        said = dialogue.answer("edit", "nobody.example")
        expect("no entry for nobody.example" in said and said.endswith("edit.\n[]> "), said)
        expect_equal(dialogue.answer(""), menu(3), "an empty answer")
        dialogue.leave()
    expect_equal(desk.files(), before, "the files")


@on_file_and_through_engine("[DEFAULT]\nmax_host_concurrency = 9\n")
def default_has_a_value_of_each(desk):
    by_default = "Do you wish to apply a recipient limit by default? [N]> "
    with Dialogue(desk) as dialogue:
        in_row(dialogue, ["default", "", "", "", "", "", "", "", ""],
               [CONNECTIONS.format("DEFAULT").replace("500", "9"), PER_CONNECTION.format("DEFAULT"),
                by_default, TYPE.format("DEFAULT"), APPLY, LEVELS, TAGS, PREFERENCES, menu(1)])
        dialogue.answer("default", "8", "7", "y", "30")
        in_row(dialogue, ["100", "", "", "2", "", "2"],
               [TYPE.format("DEFAULT"), APPLY, LEVELS, NOTICE + TAGS, PREFERENCES,
                menu(1, staged=True)])
        in_row(dialogue, ["edit", "default", "", ""],
               ["Enter the domain you wish to edit.\n[]> ",
                CONNECTIONS.format("DEFAULT").replace("500", "8"),
                PER_CONNECTION.format("DEFAULT").replace("50", "7"),
                by_default.replace("[N]", "[Y]")])
        dialogue.answer("n", "", "", "", "", "")
        dialogue.leave(LEFT_STAGED)
    expect_equal(section(desk, "DEFAULT"),
                 ["max_host_concurrency = 8", "max_messages_per_connection = 7",
                  "ip_sort_pref = REQUIRE_V6", "table_tls = on"], "the default")


def setup_asks_for_certificate_and_alert(build):
    alert = "Do you want to send an alert when a required TLS connection fails? [{}]> "
    certificates = """\
The "{}" certificate is currently configured.{}
1. Demo
2. mta-2026
Please choose the certificate to apply: [{}]> """
    unsafe = ' You may use "Demo", but this will not be secure.'
    with Run(build) as run:
        desk = Desk(run, running=False, profile=NAMES)
        with Dialogue(desk) as dialogue:
            in_row(dialogue, ["setup", "", ""],
                   [certificates.format("Demo", unsafe, 1), alert.format("N"), menu(1)])
            said = dialogue.answer("setup", "3")
            expect(said.startswith("The answer must be a number from 1 to 2"), said)
            in_row(dialogue, ["mta-2026", "y"], [alert.format("N"), menu(1, staged=True)])
            expect_equal(section(desk, "DEFAULT"),
                         ["send_tls_req_alert = on", "certificate = mta-2026"], "the default")
            in_row(dialogue, ["setup", "1", "n"],
                   [certificates.format("mta-2026", "", 2), alert.format("Y"),
                    menu(1, staged=True)])
            expect_equal(section(desk, "DEFAULT"), ["send_tls_req_alert = off"], "the default")


@on_file_and_through_engine("", destinations='profile = "extended"')
def extended_profile_takes_larger_numbers(desk):
    with Dialogue(desk) as dialogue:
        dialogue.answer("new", "a.example", "y")
        said = dialogue.answer("1000001")
        expect("from 1 to 1000000" in said, said)
        dialogue.answer("2000", *[""] * 8)
        dialogue.leave(LEFT_STAGED)
    expect("max_host_concurrency = 2000" in section(desk, "a.example"), section(desk, "a.example"))
    with Dialogue(desk) as dialogue:  # It is read again.
        dialogue.leave(LEFT_STAGED)


@on_file_and_through_engine("[a.example]\nlimit_type = MXIP\nlimit_apply = VG\n")
def edit_that_takes_all_offers_changes_nothing(desk):
    with Dialogue(desk) as dialogue:
        dialogue.answer("edit", "a.example", *[""] * 7)
        dialogue.leave()
    expect_equal(desk.do("diff"), "", "the difference")


@on_file_and_through_engine(TABLE)
def delete_and_clear_leave_the_default(desk):
    which = "Enter the domain you wish to delete.\n[]> "
    sure = "Do you want to remove all entries but the default? [N]> "
    with Dialogue(desk) as dialogue:
        said = dialogue.answer("delete", "DEFAULT")
        expect(said.startswith("the default cannot be deleted") and said.endswith(menu(3)), said)
        expect_equal(dialogue.answer("delete"), which, "delete")
        said = dialogue.answer("nobody.example")
        expect("no entry for nobody.example" in said and said.endswith(which), said)
        expect_equal(dialogue.answer("x.example"), menu(2, staged=True), "deleted")
        in_row(dialogue, ["clear", "", "clear", "n", "clear", "y"],
               [sure, menu(2, staged=True), sure, menu(2, staged=True), sure,
                menu(1, staged=True)])
        dialogue.leave(LEFT_STAGED)
    expect_equal(desk.do("export", "-"), "[DEFAULT]\n", "the table")


@on_file_and_through_engine(TABLE)
def detail_is_of_one_or_of_all(desk):
    with Dialogue(desk) as dialogue:
        for which in ("x.example", "default", "ALL"):
            said = dialogue.answer("detail", which)
            expect_equal(said, desk.do("detail", which) + "\n" + menu(3), f"detail {which}")
        said = dialogue.answer("detail", "nobody.example")
        expect("no entry for nobody.example" in said, said)


@on_file_and_through_engine(TABLE)
def files_are_imported_and_exported(desk):
    machine = 'Enter the name of the file on machine "mta.example.net" to {}:\n[]> '
    with Dialogue(desk) as dialogue:
        in_row(dialogue, ["export", "out.ini"], [machine.format("export"), menu(3)])
        expect_equal((desk.run.folder / "out.ini").read_text(), TABLE, "the file")
        dialogue.answer("clear", "y")
        in_row(dialogue, ["import", "out.ini"], [machine.format("import"), menu(3)])
        desk.run.write("bad.ini", "[a.example]\nnonsense = 1\n[b.example]\ntable_tls = 9\n")
        said = dialogue.answer("import", "bad.ini")
        expect(said.startswith("bad.ini:2: ") and "\nbad.ini:4: " in said and
               said.endswith("\n" + menu(3)), said)
        for words in (("import", "missing.ini"), ("export", "missing/out.ini")):
            said = dialogue.answer(*words)
            expect("missing" in said and said.endswith("\n" + menu(3)), said)
        expect_equal(dialogue.answer("import", ""), menu(3), "an empty answer")
        dialogue.leave()


@on_file_and_through_engine(TABLE)
def changes_are_committed_or_abandoned(desk):
    with Dialogue(desk) as dialogue:
        expect(dialogue.answer("commit").startswith("nothing is staged"), "nothing to commit")
        expect(dialogue.answer("abandon").startswith("nothing is staged"), "nothing to abandon")
        expect(dialogue.answer("diff").startswith("Nothing differs"), "nothing differs")
        dialogue.answer("delete", "x.example")
        said = dialogue.answer("DIFF")
        expect(said.startswith("x.example: removed\n"), said)
        expect(dialogue.answer("abandon").endswith("\n\n" + menu(3)), "what is staged afterwards")
        expect_equal(desk.table.read_text(), TABLE, "the file")
        dialogue.answer("delete", "x.example")
        said = dialogue.answer("commit")
        how = "in use" if desk.running else "no engine runs: it will be in use when one starts"
        expect(said.startswith("committed") and said.endswith(f"{how}\n\n" + menu(2)), said)
        dialogue.leave()
    expect("x.example" not in desk.table.read_text(), "the file")
    if desk.running:
        expect_equal(desk.table_version(), 2, "the table in use")


@on_file_and_through_engine()
def what_others_changed_meanwhile_is_refused(desk):
    with Dialogue(desk) as dialogue:
        dialogue.answer("new", "x.example", *["n"] * 6)
        desk.do("new", "x.example", "table_tls=on")
        said = dialogue.answer("n")
        expect_equal(said, "there is an entry for x.example: use edit\n\n" + menu(2, staged=True),
                     "the refusal")
    expect_equal(section(desk, "x.example"), ["table_tls = on"], "the entry")


# --- The ways out.


@on_file_and_through_engine(TABLE)
def interrupted_dialogue_changes_nothing(desk):
    """At every question of NEW: by Ctrl-C, and by Ctrl-D."""
    before = desk.files()
    answers = ["new", "new.example", "y", "3", "y", "3", "y", "3", "3", "", "", "y", "3", "y", "n",
               "n", "y"]
    for upto in range(1, len(answers) + 1):
        for key, code, shown in (("\x03", 130, "^C"), ("\x04", 1, "")):
            with Dialogue(desk) as dialogue:
                dialogue.answer(*answers[:upto])
                dialogue.type(key)
                expect_equal(dialogue.end(), (code, f"{shown}\nNothing of NEW is kept.\n"),
                             f"the end behind {answers[:upto]}")
                expect(dialogue.left_as_found(), "the terminal is not as it was")
            expect_equal(desk.files(), before, "the files")


@on_file_and_through_engine(TABLE)
def what_was_staged_before_stays_staged(desk):
    with Dialogue(desk) as dialogue:
        dialogue.answer("delete", "other.example")
        dialogue.answer("edit", "x.example", "y", "21")
        dialogue.type("abc")
        dialogue.read_until("abc$")
        dialogue.type("\x03")
        expect_equal(dialogue.end(), (130, "^C\nNothing of EDIT is kept.\n" + LEFT_STAGED), "end")
    expect_equal(desk.diff(), ["other.example: removed"], "what is staged")


def menu_is_left_by_each_way(build):
    with Run(build) as run:
        desk = Desk(run, running=False)
        for key, end in (("\r", (0, "\n\n")), ("\x04", (0, "\n")), ("\x03", (130, "^C\n"))):
            with Dialogue(desk) as dialogue:
                dialogue.type(key)
                expect_equal(dialogue.end(), end, f"the end by {key!r}")
                expect(dialogue.left_as_found(), "the terminal is not as it was")
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with Dialogue(desk) as dialogue:
                expect(not dialogue.left_as_found(), "lines are not edited")
                dialogue.process.send_signal(number)
                expect_equal(dialogue.end(), (-number, ""), f"the end by signal {number}")
                expect(dialogue.left_as_found(), "the terminal is not as it was")


# --- Keys.


def answers_are_edited_remembered_and_completed(build):
    up, down, to_begin, erase = "\x1b[A", "\x1b[B", "\x01", "\x15"
    with Run(build) as run, Dialogue(Desk(run, running=False, table=TABLE)) as dialogue:
        def keys(typed, answer):
            """They make the answer; what is said to it."""
            dialogue.type(typed)
            dialogue.read_until(re.escape(answer) + "$")
            dialogue.type("\r")
            return dialogue.said().split("\n\n", 1)[1]
        listed = dialogue.answer("list")
        expect(dialogue.answer("delete", "") == menu(3), "an operation between")
        expect_equal(keys(up * 2, "list"), listed, "the line before the last")
        expect_equal(keys(up * 3 + down, "delete"), "Enter the domain you wish to delete.\n[]> ",
                     "down again")
        expect_equal(dialogue.answer(""), menu(3), "nothing deleted")
        expect_equal(keys("xist" + to_begin + "\x1b[C\x08l\x05", "t"), listed, "an edited line")
        for typed, answer in (("li\t", "LIST"), ("lI\t", "LIST")):
            expect_equal(keys(typed, answer), listed, f"what {typed!r} completes to")
        dialogue.answer("edit")
        expect_equal(keys("x.\t", "x.example"), LIMIT.format("x.example"), "a domain")
        expect_equal(keys("ye\t" + erase + "n\t", "No"), MESSAGES.replace("[N]", "[Y]"), "a word")
        dialogue.answer("", "", "n", "y")
        expect_equal(keys("required - verify h\t", "Required - Verify Hosted Domains"),
                     NOTICE + TAGGING, "words with blanks")
        dialogue.answer("", "", "n", "import")
        expect_equal(keys("destin\t", "destinations.ini"), menu(3), "a file")


# --- Without a terminal.


def pipe(desk, answers, *options):
    done = subprocess.run([desk.run.tool("sluice"), "destconfig", "--config", "sluice.toml",
                           *options], cwd=desk.run.folder, input=answers, capture_output=True,
                          text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@on_file_and_through_engine("[other.example]\n")
def pipe_gets_the_same_dialogue(desk):
    answers = ["new", "example.com", "N", "N", "N", "Y", "3", "N", "N", "N", "commit", ""]
    said = ["\n\n" + DOMAIN, "\n\n" + LIMIT.format("example.com"), "\n\n" + MESSAGES,
            "\n\n" + RECIPIENTS, "\n\n" + TLS, "\n\n" + LEVELS, "\n\n" + NOTICE + TAGGING,
            "\n\n" + PROFILE, "\n\n" + IP, "\n\n" + menu(3, staged=True)]
    code, out, errors = pipe(desk, "\n".join(answers) + "\n")
    begin = menu(2) + "".join(answer + text for answer, text in zip(answers, said))
    expect(out.startswith(begin + "commit\n\ncommitted"), f"{out!r} does not begin with {begin!r}")
    expect(out.endswith("\n\n" + menu(3) + "\n\n"), out)
    expect_equal((code, errors), (0, ""), "the exit code and the errors")
    expect("[example.com]\ntable_tls = required\n" in desk.table.read_text(), "the file")


@on_file_and_through_engine(TABLE)
def script_learns_that_it_went_wrong(desk):
    """Its answers end too early, one is wrong, or an operation is refused."""
    before = desk.files()
    code, said, _ = pipe(desk, "new\nnew.example\nn\n")
    expect_equal((code, said.endswith("[N]> \nNothing of NEW is kept.\n")), (1, True), said)
    expect_equal(pipe(desk, "lost\n\n")[0], 1, "a word that is none")
    expect_equal(pipe(desk, "delete\ndefault\n\n")[0], 1, "what cannot be deleted")
    expect_equal(pipe(desk, "new\nx.example\n\n")[0], 1, "what is there")
    expect_equal(pipe(desk, "list\ndetail\nall\n")[0], 0, "only looks")
    expect_equal(pipe(desk, "")[0], 0, "no answer at all")
    expect_equal(desk.files(), before, "the files")
    code, said, _ = pipe(desk, "new\na.example\nperhaps\nn\nn\nn\nn\nn\nn\nn")
    expect(code == 1 and said.endswith(LEFT_STAGED), said)
    expect_equal(section(desk, "a.example"), [], "made all the same: it was asked again")


def nobody_can_be_asked(build):
    with Run(build) as run:
        desk = Desk(run, running=False)
        code, said, _ = pipe(desk, "list\n", "--socket", "nobody.sock")
        expect_equal((code, said.startswith("sluice: ")), (2, True), said)
        run.write("sluice.toml", "hostname = \n")
        code, said, _ = pipe(desk, "list\n")
        expect_equal((code, "sluice.toml:1: " in said), (2, True), said)
    with Run(build) as run:
        desk = Desk(run, running=False, table="[x.example]\nnonsense = 1\n")
        code, said, _ = pipe(desk, "list\n")
        expect_equal((code, "destinations.ini:2: " in said), (1, True), said)


def engine_that_ends_meanwhile_is_told_of(build):
    """It is asked over its socket alone: the file is not changed behind its back."""
    with Run(build) as run:
        desk = Desk(run, running=True, table=TABLE)
        command = [run.tool("sluice"), "destconfig", "--socket", "control.sock"]
        with Terminal(command, run.folder) as terminal:
            expect_equal(terminal.read_until(r"\]> $"), menu(3), "the menu")
            terminal.type("delete\r")
            terminal.read_until(r"\]> $")
            expect_equal(verb(run, "status")[0], 0, "the engine answers")
            desk.engine.drain()
            terminal.type("x.example\r")
            code, said = terminal.end()
            expect_equal(code, 2, said)
            expect("sluice: " in said, said)
        expect_equal(desk.table.read_text(), TABLE, "the file")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), transcript_is_the_appliances,
                  limits_are_asked_for_in_order, tagging_and_profiles_are_asked_for,
                  kind_of_limit_is_asked_for_behind_a_limit, no_means_inherit,
                  levels_have_a_word_each, numbers_are_taken_within_their_ranges,
                  wrong_words_are_told_the_right_ones, edit_offers_what_the_entry_says,
                  entry_that_is_there_is_not_new, default_has_a_value_of_each,
                  setup_asks_for_certificate_and_alert, extended_profile_takes_larger_numbers,
                  edit_that_takes_all_offers_changes_nothing, delete_and_clear_leave_the_default,
                  detail_is_of_one_or_of_all, files_are_imported_and_exported,
                  changes_are_committed_or_abandoned, what_others_changed_meanwhile_is_refused,
                  interrupted_dialogue_changes_nothing, what_was_staged_before_stays_staged,
                  menu_is_left_by_each_way, answers_are_edited_remembered_and_completed,
                  pipe_gets_the_same_dialogue, script_learns_that_it_went_wrong,
                  nobody_can_be_asked, engine_that_ends_meanwhile_is_told_of)
