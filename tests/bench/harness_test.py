#!/usr/bin/env python3
"""The benchmarks' harness where it is pure: what scenarios may say, the rule of the noise, times
from a delivery log, the difference of two results, counts of instructions, ratios to other
servers, what control groups count.

    harness_test.py

On made-up numbers whose answers are known by arithmetic; nothing is started. Prints `ok NAME` or
`FAILED NAME: why`.
"""

import json
import os
import pathlib
import sys
import tempfile
import tomllib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bench"))

from harness import comparison, instructions, latency, report, result, scenario  # noqa: E402
from harness import stats, usage, usage_group  # noqa: E402
from harness.figures import FIGURES  # noqa: E402


def equal(found, wanted):
    assert found == wanted, f"{found!r}, not {wanted!r}"


def refused(text):
    """What a scenario that says this is refused with."""
    try:
        scenario.parse(tomllib.loads(text), "made_up", "made_up.toml")
    except scenario.WrongScenario as wrong:
        return str(wrong)
    raise AssertionError(f"taken: {text!r}")


def taken(text):
    return scenario.parse(tomllib.loads(text), "made_up", "made_up.toml")


# --- Scenarios.


def a_scenario_that_says_nothing_has_the_defaults():
    found = taken("")
    equal(found.as_read, {key: about.default for key, about in scenario.KEYS.items()})
    equal((found.messages, found.limits.concurrency, found.sink.all_faults), (20000, 20, []))


def every_default_is_right():
    for key, about in scenario.KEYS.items():
        assert about.is_right(about.default), f"{key}: {about.default!r}"


def every_ready_scenario_can_be_read_and_what_it_is_beside_is_there():
    for name in scenario.names():
        beside = scenario.load(name).beside
        assert not beside or beside in scenario.names(), f"{name} is beside {beside}"


def unknown_keys_are_refused_with_those_there_are():
    equal(refused("[limits]\nconcurency = 5"),
          "made_up.toml: limits.concurency: no such key; there are: limits.concurrency, "
          "limits.messages_per_connection, limits.recipients_per_minute")
    assert refused("mesages = 1").startswith("made_up.toml: mesages: no such key; there are: mess")


def wrong_values_are_refused_with_what_is_right():
    for text, wanted in (
        ("messages = 0", "messages: must be a whole number from 1 to 1000000000, not 0"),
        ("messages = true", "messages: must be a whole number from 1 to 1000000000, not True"),
        ("pipelining = 1", "pipelining: must be true or false, not 1"),
        ("mail = 5", "mail: must be a table, [mail]"),
        ("[mail]\nsizes = '10k'", "mail.sizes: must be a mix"),
        ("[domains]\ndistribution = 'zipff'", "domains.distribution: must be \"uniform\", \"zi"),
        ("[tls]\ndelivery = 'on'", "tls.delivery: must be one of \"off\", \"reuse\", \"per_mess"),
        ("[tls]\nshare_resumed = 1.5", "tls.share_resumed: must be a share, from 0 to 1, not 1.5"),
        ("[tls]\nshare_resumed = true", "tls.share_resumed: must be a share, from 0 to 1, not Tr"),
        ("[cores]\nsink = [1, 1]", "cores.sink: must be a list of cores, such as [0]"),
        ("[sink]\nfaults = ['slow']", "sink.faults: must be a list of texts as sluice-sink's"),
        ("[source]\nrate = -1", "source.rate: must be messages a second"),
    ):
        said = refused(text)
        assert said.startswith("made_up.toml: " + wanted), said


def contradictions_are_refused():
    for text, wanted in (
        ("[mail]\nsize = 500\nsizes = '2k:1'", "mail.size: leave it out"),
        ("[tls]\ndelivery = 'per_message'\n[limits]\nmessages_per_connection = 2",
         "limits.messages_per_connection: must be 1"),
        ("[tls]\ndelivery = 'resumed'\n[limits]\nmessages_per_connection = 2",
         "limits.messages_per_connection: must be 1 where tls.delivery is \"resumed\""),
        ("[tls]\ndelivery = 'per_message'\nshare_resumed = 0.5",
         "tls.share_resumed: says nothing unless tls.delivery is \"resumed\""),
        ("[tls]\ndelivery = 'resumed'\n[engine]\npresent = false",
         "tls.delivery: \"resumed\" needs an engine"),
        ("[mail]\nrecipients = 2\n[sink]\nfaults = ['stage=rcpt,reply=450 no']",
         "sink.faults: a refused RCPT splits"),
        ("[engine]\npresent = false\nshards = 2", "engine.shards: says nothing"),
        ("[engine]\npresent = false\n[sink]\nslow_s = 5", "sink.slow_s: needs an engine"),
    ):
        said = refused(text)
        assert said.startswith("made_up.toml: " + wanted), said


def what_a_scenario_says_becomes_the_sinks_faults():
    found = taken("[sink]\nslow_s = 60\nlatency_ms = 5\nfaults = ['stage=mail,action=drop']")
    equal(found.sink.all_faults,
          ["stage=rcpt,action=delay,delay_ms=60000,domain=slow.example", "stage=mail,action=drop",
           "stage=dot,action=delay,delay_ms=5"])
    equal(taken("[tls]\ndelivery = 'per_message'").limits.messages_per_connection, 1)
    equal(found.with_messages(50).sink.slow_waiting, 50)


def only_sessions_that_are_to_be_resumed_have_tickets():
    for said, tickets in (("", 0), ("delivery = 'per_message'", 0), ("delivery = 'resumed'", 1),
                          ("delivery = 'resumed'\nshare_resumed = 0.25", 0.25)):
        equal(taken("[tls]\n" + said).tls.tickets, tickets)
    equal(taken("[tls]\ndelivery = 'resumed'").limits.messages_per_connection, 1)


# --- Numbers.


def percentiles_are_the_nearest_rank():
    values = list(range(1, 1001))
    equal([stats.percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)],
          [500, 990, 999, 1000])
    equal(stats.percentile([7], 0.99), 7)
    equal(stats.percentile([], 0.5), None)


def spread_is_of_the_whole_range():
    equal(stats.spread([90, 100, 110]), 0.2)
    equal(stats.spread([100]), None)
    equal(stats.median([None, 3, 1, 2]), 2)
    equal(stats.median([None]), None)


def runs_that_do_not_overlap_exceed_the_noise():
    found = stats.compare([100, 101, 102, 103, 104], [110, 111, 112, 113, 114])
    equal((found.before, found.after, found.exceeds), (102, 112, True))
    equal(round(found.percent, 2), 9.8)


def runs_that_overlap_do_not():
    equal(stats.compare([100, 101, 102, 103, 104], [101, 102, 103, 104, 105]).exceeds, False)
    # The medians differ by 8 %, but one run of five is as high as the others' median: that happens
    # in 5.8 % of the draws, and 1 % is the most.
    equal(stats.compare([100, 100, 100, 100, 108], [108] * 5).exceeds, False)


def equal_runs_and_the_smallest_differences_do_not():
    equal(stats.compare([100] * 5, [100] * 5).exceeds, False)
    equal(stats.compare([1000] * 5, [1004] * 5).exceeds, False)
    equal(stats.compare([1000] * 5, [1006] * 5).exceeds, True)


def few_runs_claim_nothing():
    found = stats.compare([100] * 4, [200] * 5)
    equal((found.exceeds, found.percent), (None, 100.0))
    assert "4 runs are too few" in found.why, found.why
    equal(stats.compare([None], [1]).why, "not measured")


def more_runs_need_a_smaller_difference():
    # One of five that overlaps forbids the claim; one of fifteen does not.
    equal(stats.compare([100] * 14 + [108], [108] * 15).exceeds, True)


# --- What a process used.


def parts_of_a_time_are_shares_of_the_exact_one():
    before = usage.Usage(1000, user=10, system=20, peak_bytes=5, written_bytes=100)
    spent = usage.Usage(1900, user=30, system=30, peak_bytes=7, written_bytes=300).since(before)
    equal((spent.cpu_us, spent.user_us, spent.system_us), (900, 600, 300))
    equal((spent.peak_bytes, spent.written_bytes), (7, 200))


def a_time_too_short_for_ticks_has_no_negative_part():
    spent = usage.Usage(900, user=10, system=20).since(usage.Usage(800, user=10, system=20))
    equal((spent.user_us, spent.system_us), (0, 100))
    equal(spent.written_bytes, None)


# --- Times from a delivery log.


def reception(message_id, timestamp):
    return {"type": "Reception", "id": message_id, "timestamp": timestamp}


def attempt(kind, message_id, timestamp, queue, envelope, data, domain="a.example"):
    return {"type": kind, "id": message_id, "recipient": "r@a", "timestamp": timestamp,
            "queue": domain,
            "stages": {"queue": queue, "dns": 9, "connect": 9, "tls": 9, "envelope": envelope,
                       "data": data}}


def a_first_attempts_stages_sum_to_its_time():
    lines = [reception("1", 10), attempt("Delivery", "1", 12, 0.001, 0.002, 0.004)]
    equal([round(time, 6) for time in latency.times_ms(lines)], [7])


def after_a_failure_it_is_the_seconds_between():
    lines = [reception("1", 10), attempt("TransientFailure", "1", 11, 0, 0.1, 0),
             attempt("Delivery", "1", 73, 0.001, 0.001, 0.001)]
    equal(latency.times_ms(lines), [63_000])


def the_slow_domain_is_left_out():
    lines = [reception("1", 10), attempt("Delivery", "1", 70, 0, 60, 0, domain="slow.example")]
    equal(latency.times_ms(lines, leave_out="slow.example"), [])
    equal(latency.times_ms(lines), [60_000])


# --- Results.


def made_up_result(name, beside="", **runs):
    figures = {figure: {"median": stats.median(runs.get(figure, [])), "spread": None,
                        "runs": runs.get(figure, [])} for figure in FIGURES}
    settings = taken(f"beside = '{beside}'").as_read
    return {"format": 1, "machine": {"commit": "abc"}, "scenarios": {
        name: {"settings": settings, "sync": "synced", "figures": figures, "unknown": {}}}}


def a_comparison_says_what_is_worse_and_what_is_noise():
    before = made_up_result("plain", messages_per_s=[1000] * 5, engine_cpu_us=[50, 51, 52, 53, 54])
    after = made_up_result("plain", messages_per_s=[900] * 5, engine_cpu_us=[51, 50, 52, 54, 53])
    after["machine"] = {"commit": "def"}
    lines = list(result.compare(before, after))
    equal(lines[0], "commit: abc, then def")
    equal([line.split()[-6:] for line in lines if "messages a second" in line],
          [["1/s", "-10.0", "%", "exceeds", "the", "noise:", "worse"][-6:]])
    equal([line.split()[-5:] for line in lines if "engine CPU" in line],
          [["+0.0", "%", "within", "the", "noise"]])


def a_comparison_of_other_scenarios_says_so():
    before, after = made_up_result("plain", messages_per_s=[1]), made_up_result("other")
    after["scenarios"]["plain"] = json.loads(json.dumps(before["scenarios"]["plain"]))
    after["scenarios"]["plain"]["settings"]["messages"] = 5
    said = "\n".join(result.compare(before, after))
    assert "not the same scenario: messages 20000, then 5" in said, said
    assert "other: in one result only" in said, said


def the_ratio_is_to_both_ends_of_the_bare_dialogue():
    both = made_up_result("plain", beside="bare", engine_cpu_us=[60.0])
    bare = made_up_result("bare", source_cpu_us=[10.0], sink_cpu_us=[20.0])
    equal(result.ratio(both, "plain"), None)
    both["scenarios"] |= bare["scenarios"]
    equal(result.ratio(both, "plain"), 2.0)


def a_report_shows_every_figure_and_why_one_is_missing():
    found = made_up_result("plain", messages_per_s=[1234.0], engine_peak_bytes=[3 << 20],
                           share_resumed=[0.985])
    found["scenarios"]["plain"]["unknown"] = {"syscalls": "perf is <not> installed"}
    text, page = report.markdown(found), report.page(found)
    for figure in FIGURES.values():
        assert f"| {figure.title}" in text, figure.title
    assert "| plain | 1,234 | - | - | - | - | 98.5 |" in text, text
    assert "| plain | 3.0 | - | - |" in text, text
    assert "perf is <not> installed: syscalls" in text, text
    assert "perf is &lt;not&gt; installed" in page and "http" not in _text_only(page), page


def _text_only(page):
    """Without the plots, whose SVG names its schemas."""
    while "<svg" in page:
        page = page[:page.index("<svg")] + page[page.index("</svg>") + 6:]
    return page


# --- Instructions.

# main calls the simulator, that calls Step (30 with all below): 10 of its own, 12 in Parse with
# the 2 that it has of memcpy, 8 in the simulator's Send, of which 3 in memcpy.
PROFILE = """\
positions: line
events: Ir
summary: 30

fn=(1) main
0 0
cfn=(2) sluice::sim::Run()
calls=1 0
0 30

fn=(2)
cfn=(3) sluice::shard::Shard::Step(sluice::Now)
calls=1 0
0 30

fn=(3)
+1 10
cfn=(4) sluice::smtp::Parse()
calls=2 0
* 12
cfn=(5) sluice::sim::SimIo::Send()
calls=1 0
0 8

fn=(4)
5 7
-2 3
cfn=(6) memcpy
calls=1 0
0 2

fn=(5)
0 5
cfn=(6)
calls=1 0
0 3

fn=(6)
0 5
"""


def the_simulators_own_instructions_do_not_count():
    total, own = instructions.read_profile(iter(PROFILE.splitlines()))
    equal(total, 22)
    equal(own, {"sluice::shard::Shard::Step(sluice::Now)": 10, "sluice::smtp::Parse()": 10,
                "memcpy": 5})


def three_percent_more_are_the_most():
    before = instructions.Count(10, 1000)
    for total, wanted in ((1000, False), (1030, False), (1031, True), (500, False)):
        equal(instructions.more(before, instructions.Count(10, total))[1], wanted)
    # Of twice as many messages it is twice as much.
    equal(instructions.more(before, instructions.Count(20, 2000)), (0, False))


def functions_that_differ_the_most_come_first_whichever_way():
    before = instructions.Count(10, 1000, {"a": 100, "b": 500, "c": 10})
    after = instructions.Count(20, 1000, {"a": 400, "b": 400, "c": 20, "d": 20})
    equal(instructions.differing(before, after, 3), [("b", 50, 20), ("a", 10, 20), ("d", 0, 1)])


# --- Beside other servers.


def party_of(runs, failed=()):
    """Runs as pairs of messages a second and CPU microseconds."""
    return {"version": "1", "messages": 10, "failed": list(failed), "runs": [
        {"messages_per_s": rate, "cpu_us": cpu, "cpu_user_us": cpu / 4, "memory_bytes": None,
         "disk_bytes": 2000, "accept_ms_p50": 1, "accept_ms_p99": 2, "connections": 20,
         "delivered": 10, "twice": 1} for rate, cpu in runs]}


COMPARED = {"parties": {"sluice": party_of([(900, 50), (1000, 60), (5000, 40)]),
                        "postfix": party_of([(100, 500), (200, 750), (50, 1000)]),
                        "exim": party_of([], failed=["10 of 10 messages did not arrive"])}}


def ratios_are_of_medians_and_the_engine_comes_last():
    equal(list(comparison.ratio_lines(COMPARED)),
          ["cpu postfix/sluice 15.0", "rate sluice/postfix 10.0", "cpu us sluice 50.0"])


def without_the_engine_there_are_no_ratios():
    equal(list(comparison.ratio_lines({"parties": {"postfix": party_of([(100, 500)])}})), [])


def a_party_without_figures_is_in_no_table_and_what_is_not_known_is_a_dash():
    rows = [row for row in comparison.table(COMPARED) if not row.startswith(("| |", "|---"))]
    equal([row.split()[1] for row in rows], ["sluice", "postfix"])
    equal(rows[1], "| postfix 1 | 100 | 750.0 (187.5) | - | 2.0 | 1.0, 2.0 | 20 | 10 of 10 | 3 |")


def both_versions_of_control_groups_count_in_microseconds_and_bytes():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in (
            ("two/group/cpu.stat", "usage_usec 30\nuser_usec 10\nsystem_usec 20\n"),
            ("two/group/memory.stat", "anon 4096\nfile 8192\n"),
            ("cpu/group/cpuacct.usage", "30000\n"), ("cpu/group/cpuacct.usage_user", "10000\n"),
            ("memory/group/memory.stat", "total_cache 8192\ntotal_rss 4096\n"),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        for version in (usage_group.Version2(root / "two", "group"),
                        usage_group.Version1(root / "cpu", root / "memory", "group")):
            equal(version.cpu() - usage_group.Cpu(20, 5), usage_group.Cpu(10, 5))
            equal(version.memory_bytes(), 4096)


TESTS = [value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == __name__
         and value.__code__.co_argcount == 0]


def main():
    failed = 0
    for test in TESTS:
        try:
            test()
            print(f"ok {test.__name__}")
        except AssertionError as wrong:
            failed += 1
            print(f"FAILED {test.__name__}: {wrong}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
