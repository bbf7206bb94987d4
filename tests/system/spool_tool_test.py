#!/usr/bin/env python3
"""sluice spool: what it says of a spool that a real engine made, sound and with bytes changed.

Usage: spool_tool_test.py BUILD_DIR

The bytes are changed where the test finds them by itself: it reads segments by their format
(engine/spool/FORMAT.md), not by what the program says.
"""

import json
import re
import shutil
import smtplib
import struct
import subprocess
import threading

from engine_run import Run, build_folder, expect, expect_equal, run_scenarios

HEADER = struct.Struct("<QIB3xQ")  # Checksum, length of the payload, type, segment.
BODY, ACCEPTED, INDEX = 2, 3, 9
MESSAGE = "From: a@near.example\r\nSubject: number {0}\r\n\r\n.dots\r\n..\r\ntext {0}\r\n"


def records(segment):
    """Type, offset and length of each record, from the front up to the first that is none."""
    data, at, found = segment.read_bytes(), 0, []
    (identity,) = struct.unpack_from("<Q", data, 16)
    while at + HEADER.size <= len(data):
        _, length, kind, of = HEADER.unpack_from(data, at)
        if of != identity or not 1 <= kind <= 9:
            break
        found.append((kind, at, length, data[at + HEADER.size:at + HEADER.size + length]))
        at += HEADER.size + (length + 7) // 8 * 8
    return found


def change(segment, offset):
    with open(segment, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x20]))


class Spool:
    """A copy of what an engine left, with the program that looks at it."""

    def __init__(self, run, path):
        self.run, self.path = run, path

    def copy(self, name):
        shutil.copytree(self.path, self.run.folder / name)
        return Spool(self.run, self.run.folder / name)

    def segments(self):
        return sorted(self.path.glob("shard-*/*.log"))

    def ask(self, *words):
        return subprocess.run([self.run.tool("sluice"), "spool", *words, "--spool", self.path],
                              capture_output=True, timeout=120)

    def check(self, exit_code):
        """The JSON; and the text must have the same exit."""
        said = self.ask("check", "--json")
        expect_equal(said.returncode, exit_code, f"exit of check ({said.stderr.decode()})")
        expect_equal(self.ask("check").returncode, exit_code, "exit of the check in words")
        return json.loads(said.stdout)

    def faults(self):
        return [fault for log in self.check(1)["logs"] for fault in log["faults"]]

    def waiting(self, exit_code=0):
        return sum(log["waiting"] for log in self.check(exit_code)["logs"])


def send(engine, numbers, recipients=("b@far.example",)):
    """Returns the ids, as the 250 tells them."""
    ids = []
    with smtplib.SMTP(*engine.host_and_port()) as client:
        client.ehlo("near.example")
        for number in numbers:
            client.mail("a@near.example")
            for recipient in recipients:
                expect_equal(client.rcpt(recipient)[0], 250, "reply to RCPT")
            code, text = client.data(MESSAGE.format(number))
            expect_equal(code, 250, "reply to the dot")
            ids.append(re.search(r"\b[0-9A-HJKMNP-TV-Z]{13}\b", text.decode()).group())
    return ids


def waiting_mail(run):
    """An engine that took five messages and an index's worth of others, and was stopped."""
    engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n")  # Nobody listens there.
    ids = send(engine, range(5))
    # More than one segment of 64 MiB: the first one is full and has an index.
    load = run.load(engine.address, "--messages", "700", "--size", "100k")
    load.end()
    engine.drain()
    return engine, ids, Spool(run, run.folder / "spool")


def sound_and_damaged(build):
    with Run(build) as run:
        _, ids, spool = waiting_mail(run)
        before = {path: path.read_bytes() for path in spool.path.rglob("*") if path.is_file()}
        expect_equal(spool.waiting(), 705, "messages that wait")
        said = spool.check(0)
        expect_equal(said["engine"], None, "the engine that runs")
        expect(sum(log["indexed"] for log in said["logs"]) >= 1, "no segment has an index")
        first = spool.segments()[0]
        kinds = records(first)
        bodies = [record for record in kinds if record[0] == BODY]
        promises = [record for record in kinds if record[0] == ACCEPTED]
        index = next(record for record in kinds if record[0] == INDEX)
        name = str(first.relative_to(spool.path))
        cases = {  # Where a byte is changed, the faults that follow, what still waits.
            "body": (bodies[1][1] + HEADER.size + 30, {"records", "body"}, 705),
            "promise": (promises[2][1] + HEADER.size + 20, {"records", "promise"}, 704),
            "index": (index[1] + HEADER.size + 3, {"index"}, 705),
            "first": (8, {"records"}, 705),
        }
        for case, (offset, kinds_of_fault, waiting) in cases.items():
            copy = spool.copy(case)
            change(copy.path / name, offset)
            faults = copy.faults()
            expect_equal({fault["fault"] for fault in faults}, kinds_of_fault, f"faults of {case}")
            places = [fault for fault in faults if fault["fault"] in ("records", "index")]
            expect_equal(len(places), 1, f"places of {case}")
            begin, end = places[0]["offset"], places[0]["offset"] + places[0]["bytes"]
            expect(places[0]["file"] == name and begin <= offset < end,
                   f"{case}: changed at {offset} of {name}, told {places[0]}")
            named = {fault["message"] for fault in faults if "message" in fault}
            wanted = {"body": {ids[1]}, "promise": {ids[2]}}.get(case, set())
            expect_equal(named, wanted, f"messages named for {case}")
            expect_equal(copy.waiting(1), waiting, f"messages that wait, {case}")
            shutil.rmtree(copy.path)
        newer = spool.copy("newer")
        change(newer.path / name, HEADER.size + 8)  # Version 2 becomes 34.
        versions = [fault for fault in newer.faults() if fault["fault"] == "version"]
        expect_equal([(fault["file"], fault["version"]) for fault in versions], [(name, 34)],
                     "unknown versions")
        after = {path: path.read_bytes() for path in spool.path.rglob("*") if path.is_file()}
        expect(before == after, "looking at the spool has changed it")


def one_message(build):
    with Run(build) as run:
        engine = run.engine(shards=2, routes="ALL 127.0.0.1:1\n")
        (one,) = send(engine, [7], ["b@far.example", "c@far.example"])
        engine.wait_events(2, "TransientFailure")
        spool = Spool(run, run.folder / "spool")
        running = spool.check(0)
        expect_equal(running["engine"], engine.program.pid, "the process that runs on the spool")
        engine.drain()
        said = json.loads(spool.ask("show", one, "--json").stdout)
        expect_equal((said["id"], said["state"], said["sender"]),
                     (one, "waiting", "a@near.example"), "the message")
        expect_equal([(to["address"], to["state"]) for to in said["recipients"]],
                     [("b@far.example", "waiting"), ("c@far.example", "waiting")], "recipients")
        expect(all(to["attempts"] >= 1 and to["next_attempt"] for to in said["recipients"]),
               f"no attempts in {said['recipients']}")
        for record in said["records"]:
            segment = spool.path / record["file"]
            kinds = {1: "segment", 2: "body", 3: "accepted", 4: "outcome", 5: "deferred", 6: "done"}
            there = {(kinds.get(kind), offset) for kind, offset, _, _ in records(segment)}
            expect((record["type"], record["offset"]) in there, f"{record} is not there")
        raw = spool.ask("show", one, "--raw").stdout
        piece = b"".join(payload[16:] for segment in spool.segments()
                         for kind, _, _, payload in records(segment) if kind == BODY)
        expect_equal(raw, piece, "the wire form")
        body = spool.ask("show", one, "--body").stdout
        expect(body.endswith(MESSAGE.format(7).encode()) and body.startswith(b"Received:"),
               f"the message: {body!r}")
        text = spool.ask("show", one).stdout.decode()
        expect("b@far.example" in text and one in text, f"in words: {text}")
        unknown = spool.ask("show", "0123456789ABC")
        expect_equal(unknown.returncode, 1, "exit for an unknown id")
        expect(b"no message 0123456789ABC" in unknown.stderr, f"said: {unknown.stderr}")
        expect_equal(spool.ask("show", "no-id").returncode, 1, "exit for what is no id")
        nowhere = Spool(run, run.folder / "nowhere").ask("check")
        expect_equal(nowhere.returncode, 2, "exit for a spool that is not there")
        expect(not (run.folder / "nowhere").exists(), "looking for a spool has made one")
        config = subprocess.run([run.tool("sluice"), "spool", "check", "--config",
                                 run.folder / "sluice.toml"], capture_output=True, timeout=60)
        expect_equal(config.returncode, 0, f"exit by the configuration: {config.stderr}")


def while_mail_flows(build):
    """An engine that fills segments and gives them back is never said to be damaged."""
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(shards=2, routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(engine.address, "--messages", "6000", "--size", "100k", "--domain-count",
                        "20", timeout_s=300)
        spool, checks = Spool(run, run.folder / "spool"), []
        ended = threading.Event()

        def look():
            while not ended.is_set():
                checks.append(spool.ask("check", "--json"))
        looker = threading.Thread(target=look)
        looker.start()
        try:
            load.end()
        finally:
            ended.set()
            looker.join()
        wrong = [check.stdout.decode()[-2000:] + check.stderr.decode()
                 for check in checks if check.returncode != 0]
        expect(not wrong, f"{len(wrong)} of {len(checks)} checks found fault: {wrong[:1]}")
        given_back = sum(json.loads(check.stdout)["given_back_meanwhile"] for check in checks)
        engine.drain()
        return f"{len(checks)} checks, {given_back} segments given back under them"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), sound_and_damaged, one_message, while_mail_flows)
