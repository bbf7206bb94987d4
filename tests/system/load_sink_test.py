#!/usr/bin/env python3
"""sluice-load against sluice-sink on loopback: what one says it sent, the other must have received.

Usage: load_sink_test.py BUILD_DIR

Runs with and without faults, in clear and under TLS, and compares the two reports, the ledger and
the list of what was received. Also: what Python's own TLS sees of the sink, command lines that must
be refused, and the end by signal and by timeout.
"""

import collections
import contextlib
import json
import pathlib
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile

from certificates import Workshop

failures = 0


def check(what, holds, seen=""):
    """Prints what is checked; the run goes on after a failure, and ends with its count."""
    global failures
    if not holds:
        failures += 1
    print(f"{'ok' if holds else 'FAILED'} {what}" + (f": {seen}" if seen != "" else ""))


def equal(what, one, other):
    check(what, one == other, one if one == other else f"{one} and {other}")


class Sink:
    """A running sink. Its report and the recipients it received are there after end()."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()

    def __init__(self, build, folder, *options):
        self.report_path = folder / "sink.json"
        self.received_path = folder / "received"
        self.process = subprocess.Popen(
            [build / "tools/sluice-sink", "--listen", "127.0.0.1:0", "--report", self.report_path,
             "--received", self.received_path, *options], stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.fullmatch(r"listening on (127\.0\.0\.1:\d+)\n", line)
        if not found:
            sys.exit("the sink did not start: " + line + self.process.stderr.read())
        self.address = found.group(1)

    def end(self, send_signal=True):
        if send_signal:
            self.process.send_signal(signal.SIGTERM)
        equal("the sink exits with", self.process.wait(timeout=30), 0)
        self.process.stderr.close()
        self.report = json.loads(self.report_path.read_text())
        self.totals = self.report["totals"]
        self.received = collections.Counter(
            tuple(line.split(" ")) for line in self.received_path.read_text().splitlines())


class Load:
    """A load that has run."""

    def __init__(self, build, folder, address, *options):
        ledger_path, report_path = folder / "ledger", folder / "load.json"
        ending = [] if "--timeout" in options else ["--timeout", "120"]
        run = subprocess.run(
            [build / "tools/sluice-load", "--to", address, "--ledger", ledger_path, "--report",
             report_path, *options, *ending], capture_output=True, text=True, timeout=180)
        self.exit, self.sentence = run.returncode, run.stderr.strip()
        self.report = json.loads(report_path.read_text())
        lines = [line.split(" ") for line in ledger_path.read_text().splitlines()]
        self.ledger_lines = len(lines)
        self.ledger = collections.Counter((line[0], to) for line in lines for to in line[1:])


def run_pair(build, sink_options, load_options, expect=None):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        expecting = [] if expect is None else ["--expect", str(expect)]
        with Sink(build, folder, *sink_options, *expecting) as sink:
            load = Load(build, folder, sink.address, *load_options)
            sink.end(send_signal=expect is None)
            return sink, load


def check_sound(sink, load):
    """What holds whatever went wrong."""
    equal("the ledger has a line for each accepted message", load.ledger_lines,
          load.report["accepted"])
    equal("and its recipients", sum(load.ledger.values()), load.report["recipients_accepted"])
    check("all that the ledger promises was received", not load.ledger - sink.received)
    equal("received lines and recipients taken", sum(sink.received.values()),
          sink.totals["recipients_taken"])
    for name in ("damaged", "without_probe", "duplicates"):
        equal(f"{name} messages", sink.totals[name], 0)
    equal("connections of both sides", load.report["connections"], sink.totals["connections"])
    equal("connections left", sink.totals["connections_now"], 0)
    for rows in ("ports", "domains"):
        equal(f"recipients of all {rows} and in total",
              sum(row["recipients"] for row in sink.report[rows]), sink.totals["recipients"])


def plain(build):
    print("5,000 messages, 10 connections, no faults")
    sink, load = run_pair(build, [], ["--messages", "5000", "--connections", "10"], expect=5000)
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("accepted", load.report["accepted"], 5000)
    equal("taken by the sink", sink.totals["messages"], 5000)
    equal("ledger and received are the same", load.ledger == sink.received, True)
    equal("sessions lost", load.report["sessions_lost"], 0)
    check("at most 10 connections at once", sink.totals["connections_peak"] <= 10,
          sink.totals["connections_peak"])
    equal("recipients in 60 s", sink.totals["windows"][0]["recipients_max"], 5000)
    check("latencies are in order",
          0 < load.report["dot_ms"]["p50"] <= load.report["dot_ms"]["p99"]
          <= load.report["dot_ms"]["max"])


def many_domains(build):
    print("5,000 messages to 3 recipients each, mixed sizes, 50 domains, 20 on a connection, "
          "in step")
    sink, load = run_pair(
        build, ["--no-pipelining", "--no-8bitmime", "--window", "1", "--window", "60"],
        ["--messages", "5000", "--connections", "10", "--sizes", "512:2,1k:5,10k:3,200k:1",
         "--domain-count", "50", "--distribution", "zipf:1.1", "--recipients-per-message", "3",
         "--messages-per-connection", "20"])
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("recipients accepted", load.report["recipients_accepted"], 15000)
    equal("messages of all domains",
          sum(row["messages"] for row in sink.report["domains"]), 5000)
    check("at most 10 connections at once", sink.totals["connections_peak"] <= 10,
          sink.totals["connections_peak"])
    equal("most messages on a connection", sink.totals["messages_on_connection_max"], 20)
    check("at least 250 connections", load.report["connections"] >= 250)
    one, sixty = (window["recipients_max"] for window in sink.totals["windows"])
    check("no more in a second than in a minute", one <= sixty == 15000, f"{one}, {sixty}")
    first = {row["name"]: row["messages"] for row in sink.report["domains"]}["dest-0000.example"]
    # A share of 1 over the sum of r^-1.1: 0.28 of 5,000, give or take six standard deviations.
    share = 5000 / sum(rank ** -1.1 for rank in range(1, 51))
    check("the first domain has its share", abs(first - share) < 200, f"{first} of {share:.0f}")


def refusals_retried(build):
    print("5,000 messages, one RCPT in ten refused for now, tried again")
    sink, load = run_pair(
        build, ["--fault", "stage=rcpt,reply=450 4.7.1 later, please,probability=0.1"],
        ["--messages", "5000", "--recipients-per-message", "2", "--retry-refused",
         "--retry-after", "0.1"])
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("recipients accepted", load.report["recipients_accepted"], 10000)
    refused = load.report["refused"]["450"]
    equal("refusals of both sides", refused, sink.report["faults"][0]["times"])
    equal("all tried again", load.report["retried"], refused)
    equal("RCPT commands", sink.totals["recipients"], 10000 + refused)
    check("about a tenth", 900 < refused < 1350, refused)


def refusals_final(build):
    print("5,000 messages, some refused for good at every stage")
    faults = [f"stage={stage},reply=554 5.7.1 no,probability=0.02"
              for stage in ("mail", "rcpt", "data", "dot")]
    options = [word for fault in faults for word in ("--fault", fault)]
    sink, load = run_pair(build, options, ["--messages", "5000", "--allow-refusals"])
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    times = sum(fault["times"] for fault in sink.report["faults"])
    # A pipelined RCPT reaches the sink after a refused MAIL, but not its faults.
    equal("refusals of both sides", load.report["refused"].get("554", 0), times)
    equal("accepted and refused", load.report["accepted"] + load.report["given_up"], 5000)
    equal("taken by the sink", sink.totals["messages"], load.report["accepted"])
    print("the same without leave to be refused")
    sink, load = run_pair(build, options, ["--messages", "500"])
    equal("the load exits with", load.exit, 1)
    check("and says why", "recipients were refused" in load.sentence, load.sentence)


def broken_sessions(build):
    print("5,000 messages, connections dropped, delayed, slow and closed at every stage")
    faults = ["stage=connect,action=drop,probability=0.1",
              "stage=connect,action=slow,bytes_per_s=2000000,probability=0.2",
              "stage=helo,action=delay,delay_ms=20,probability=0.1",
              "stage=mail,action=drop,probability=0.005",
              "stage=rcpt,action=close421,probability=0.005",
              "stage=data,action=drop,probability=0.005",
              "stage=dot,action=delay,delay_ms=20,probability=0.01",
              "stage=dot,action=drop,probability=0.005",
              "stage=dot,action=accept_drop,probability=0.005"]
    sink, load = run_pair(
        build, [word for fault in faults for word in ("--fault", fault)],
        ["--messages", "5000", "--retry-refused", "--retry-after", "0.1", "--connections", "20"])
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("accepted", load.report["accepted"], 5000)
    times = [fault["times"] for fault in sink.report["faults"]]
    check("every fault was done", all(times), times)
    equal("in doubt are those dropped at the dot", load.report["in_doubt"], times[7] + times[8])
    equal("taken are those accepted and those dropped after it", sink.totals["messages"],
          5000 + times[8])


def under_tls(build):
    print("5,000 messages under TLS, 20 on a connection, some to 3 recipients")
    with tempfile.TemporaryDirectory() as name:
        made = Workshop(pathlib.Path(name) / "made").self_signed(["sink.example"])
        sink, load = run_pair(
            build, ["--certificate", made.chain, "--key", made.key],
            ["--starttls", "--messages", "5000", "--sizes", "512:2,1k:5,10k:3,200k:1",
             "--domain-count", "10", "--recipients-per-message", "3",
             "--messages-per-connection", "20"], expect=5000)
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("accepted", load.report["accepted"], 5000)
    equal("ledger and received are the same", load.ledger == sink.received, True)
    equal("taken under TLS", sink.totals["messages_under_tls"], 5000)
    equal("taken in clear", sink.totals["messages_in_clear"], 0)
    check("at least 250 connections", load.report["connections"] >= 250)
    for side, report in ("load", load.report), ("sink", sink.totals):
        equal(f"connections under TLS, by the {side}", report["tls_connections"],
              report["connections"])
        equal(f"handshakes that failed, by the {side}", report["handshakes_failed"], 0)
    equal("connections of all ciphers", sum(sink.totals["ciphers"].values()),
          sink.totals["connections"])
    equal("messages under TLS of all domains",
          sum(row["messages_under_tls"] for row in sink.report["domains"]), 5000)

    print("in clear, though TLS is offered")
    sink, load = run_pair(build, ["--demo-certificate"], ["--messages", "100"], expect=100)
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("taken in clear", sink.totals["messages_in_clear"], 100)
    equal("connections under TLS", sink.totals["tls_connections"], 0)
    equal("ciphers", sink.totals["ciphers"], {})


def broken_tls(build):
    print("1,000 messages under TLS, connections dropped, delayed, slow and refused at every stage")
    faults = ["stage=starttls,action=drop,probability=0.1",
              "stage=starttls,reply=454 4.7.0 not now,probability=0.1",
              "stage=starttls,action=delay,delay_ms=20,probability=0.1",
              "stage=helo,action=slow,bytes_per_s=2000000,probability=0.2",
              "stage=mail,action=drop,probability=0.01",
              "stage=rcpt,reply=450 4.7.1 later,probability=0.01",
              "stage=data,action=close421,probability=0.01",
              "stage=dot,action=delay,delay_ms=20,probability=0.02",
              "stage=dot,action=accept_drop,probability=0.01"]
    sink, load = run_pair(
        build,
        ["--demo-certificate"] + [word for fault in faults for word in ("--fault", fault)],
        ["--starttls", "--messages", "1000", "--retry-refused", "--retry-after", "0.1",
         "--connections", "20", "--messages-per-connection", "10"])
    check_sound(sink, load)
    equal("the load exits with", load.exit, 0)
    equal("accepted", load.report["accepted"], 1000)
    times = [fault["times"] for fault in sink.report["faults"]]
    check("every fault was done", all(times), times)
    equal("taken are those accepted and those dropped after the dot",
          sink.totals["messages_under_tls"], 1000 + times[8])
    equal("taken in clear", sink.totals["messages_in_clear"], 0)
    equal("connections under TLS are those not dropped or refused before",
          sink.totals["tls_connections"], sink.totals["connections"] - times[0] - times[1])
    equal("and so the load says", load.report["tls_connections"], sink.totals["tls_connections"])


def no_tls(build):
    print("TLS is asked for and not to be had")
    sink, load = run_pair(build, [], ["--starttls", "--messages", "5"])
    equal("the load exits with", load.exit, 1)
    check("and says why", "does not offer STARTTLS" in load.sentence
          and load.sentence.startswith("sluice-load: 127.0.0.1:"), load.sentence)
    equal("taken by the sink", sink.totals["messages"], 0)
    equal("recipients", sink.totals["recipients"], 0)

    print("TLS is refused for as long as the run lasts")
    sink, load = run_pair(
        build, ["--demo-certificate", "--fault", "stage=starttls,reply=454 4.7.0 not now"],
        ["--starttls", "--messages", "5", "--timeout", "0.5"])
    equal("the load exits with", load.exit, 1)
    check("and says why", load.sentence == "sluice-load: timeout: 0 messages of 5 were accepted; "
          "TLS failed last with: STARTTLS was refused with 454", load.sentence)
    equal("recipients", sink.totals["recipients"], 0)


def peer_of_python(build):
    print("Python's own client under TLS")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        root = Workshop(folder / "made").authority("a root")
        made = root.authority("one below").issue(["sink.example"])
        context = ssl.create_default_context(cafile=root.file)
        context.check_hostname = False  # It connects to an address.
        with Sink(build, folder, "--certificate", made.chain, "--key", made.key) as sink:
            host, port = sink.address.split(":")
            with smtplib.SMTP(host, int(port), "c.example") as client:
                client.starttls(context=context)  # Verifies the whole chain.
                shown = client.sock.getpeercert(binary_form=True)
                check("it is the certificate that was given",
                      ssl.DER_cert_to_PEM_cert(shown) == own_of(made.chain))
                client.sendmail("a@x.example", ["b@y.example"], "Subject: x\r\n\r\nhello\r\n")
            with smtplib.SMTP(host, int(port), "c.example") as client:
                try:
                    client.starttls(context=ssl.create_default_context())  # Without this root.
                    check("it does not verify without the root", False)
                except ssl.SSLCertVerificationError:
                    check("it does not verify without the root", True)
                client.close()
            sink.end()
        equal("taken under TLS", sink.totals["messages_under_tls"], 1)
        equal("without a probe", sink.totals["without_probe"], 1)
        equal("connections", sink.totals["connections"], 2)

    print("a demo certificate is of the hostname, and another in each run")
    shown = set()
    for _ in range(2):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with Sink(build, folder, "--demo-certificate", "--hostname", "demo.example") as sink:
                # What is not verified first is then all that is trusted.
                one = shown_to(sink.address, ssl._create_unverified_context(), "demo.example")
                file = folder / "shown.pem"
                file.write_text(one)
                trusting = ssl.create_default_context(cafile=file)
                check("it names the host",
                      shown_to(sink.address, trusting, "demo.example") == one)
                try:
                    shown_to(sink.address, trusting, "other.example")
                    check("and no other", False)
                except ssl.SSLCertVerificationError:
                    check("and no other", True)
                sink.end()
            shown.add(one)
    equal("certificates of two runs", len(shown), 2)


def resumed_for_python(build):
    print("Python's own client comes back with the session that it was given")
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        for options, wanted in ([], [False] * 3), (["--tickets", "1"], [False, True, True]):
            with tempfile.TemporaryDirectory() as name:
                with Sink(build, pathlib.Path(name), "--demo-certificate", *options) as sink:
                    context = ssl._create_unverified_context()
                    context.minimum_version = context.maximum_version = version
                    session, seen = None, []
                    for _ in wanted:
                        reused, session = comes_with(sink.address, context, session)
                        seen.append(reused)
                    sink.end()
            what = f"{version.name} {' '.join(options)}"
            equal(f"resumed, {what}", seen, wanted)
            equal(f"resumed by the sink's count, {what}", sink.totals["tls_resumed"], sum(wanted))


def comes_with(address, context, session):
    """Whether the session was resumed, and the one for the next time."""
    with secured(address, context, session=session) as secure:
        secure.sendall(b"NOOP\r\n")
        secure.recv(1000)  # A ticket of TLS 1.3 comes before the reply.
        return secure.session_reused, secure.session


def shown_to(address, context, name):
    """The certificate that a sink shows to a client who looks for `name`, in PEM."""
    with secured(address, context, server_hostname=name) as secure:
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))


@contextlib.contextmanager
def secured(address, context, **how):
    """A session with the sink, under TLS after STARTTLS."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as clear:
        clear.recv(1000)
        clear.sendall(b"STARTTLS\r\n")
        clear.recv(1000)
        with context.wrap_socket(clear, **how) as secure:
            yield secure


def own_of(chain):
    """The first certificate of a PEM file."""
    end = "-----END CERTIFICATE-----\n"
    text = chain.read_text()
    return text[text.index("-----BEGIN"):text.index(end) + len(end)]


def refused_certificates(build):
    print("certificates that are refused with a sentence")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        workshop = Workshop(folder / "made")
        one, other = workshop.self_signed(["a.example"]), workshop.self_signed(["b.example"])
        rubbish = folder / "rubbish"
        rubbish.write_text("no certificate")
        listen = ["--listen", "127.0.0.1:0"]
        for what, options, word in [
                ("a file that is not there",
                 ["--certificate", folder / "nowhere", "--key", one.key], "nowhere"),
                ("a file that is none", ["--certificate", rubbish, "--key", one.key], "rubbish"),
                ("a key that is not there",
                 ["--certificate", one.chain, "--key", folder / "nokey"], "nokey"),
                ("another's key", ["--certificate", one.chain, "--key", other.key],
                 "the key isn't that of the first certificate"),
                ("no key", ["--certificate", one.chain], "--key"),
                ("no certificate", ["--key", one.key], "--certificate"),
                ("one and a demo certificate",
                 ["--certificate", one.chain, "--key", one.key, "--demo-certificate"],
                 "--demo-certificate")]:
            run = subprocess.run([build / "tools/sluice-sink", *listen, *options],
                                 capture_output=True, text=True, timeout=10)
            said = run.stderr.strip()
            check(what, run.returncode == 2 and said.startswith("sluice-sink: ") and word in said
                  and "\n" not in said, said)


def ends(build):
    print("ends by timeout, and with nobody there")
    sink, load = run_pair(build, ["--fault", "stage=connect,action=delay,delay_ms=60000"],
                          ["--messages", "5", "--timeout", "0.5"])
    equal("the load exits with", load.exit, 1)
    check("and says why", "timeout: 0 messages of 5" in load.sentence, load.sentence)
    with tempfile.TemporaryDirectory() as name:
        load = Load(build, pathlib.Path(name), "127.0.0.1:1", "--messages", "5", "--timeout", "0.5")
    equal("the load exits with", load.exit, 1)
    check("it tried", load.report["connections_failed"] > 0)

    print("ends by signal")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Sink(build, folder) as sink:
            process = subprocess.Popen(
                [build / "tools/sluice-load", "--to", sink.address, "--messages", "1000000",
                 "--rate", "1000", "--ledger", folder / "ledger"], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
            while not (folder / "ledger").exists() or not (folder / "ledger").read_text():
                pass
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            sink.end()
        equal("the load exits with", process.returncode, 1)
        check("and says why", "stopped by a signal" in err, err.strip())
        equal("what it counted was taken", json.loads(out)["accepted"], sink.totals["messages"])


def refused_options(build):
    print("command lines that are refused with a sentence")
    to, listen = ["--to", "127.0.0.1:25"], ["--listen", "127.0.0.1:0"]
    for program, options in [
            ("sluice-sink", []),
            ("sluice-sink", ["--listen", "localhost"]),
            ("sluice-sink", listen + ["--ports", "2"]),
            ("sluice-sink", ["--listen", "127.0.0.1:65535", "--ports", "2"]),
            ("sluice-sink", listen + ["--window", "0"]),
            ("sluice-sink", listen + ["--expect", "-1"]),
            ("sluice-sink", listen + ["--hostname", "a..b"]),
            ("sluice-sink", listen + ["--fault", "stage=rcpt"]),
            ("sluice-sink", listen + ["--size-max", "x"]),
            ("sluice-sink", listen + ["--demo-certificate", "--tickets", "1.1"]),
            ("sluice-sink", listen + ["--tickets", "0.5"]),  # Without a certificate.
            ("sluice-sink", listen + ["--bogus"]),
            ("sluice-load", []),
            ("sluice-load", ["--to", "127.0.0.1:0"]),
            ("sluice-load", to + ["--connections", "0"]),
            ("sluice-load", to + ["--messages", "0"]),
            ("sluice-load", to + ["--rate", "-1"]),
            ("sluice-load", to + ["--size", "100"]),
            ("sluice-load", to + ["--sizes", "2k:0"]),
            ("sluice-load", to + ["--domain-count", "0"]),
            ("sluice-load", to + ["--domains", "/nonexistent"]),
            ("sluice-load", to + ["--distribution", "normal"]),
            ("sluice-load", to + ["--recipients-per-message", "101"]),
            ("sluice-load", to + ["--from", "a b"]),
            ("sluice-load", to + ["--pipelining", "--no-pipelining"]),
            ("sluice-load", to + ["--timeout", "0"])]:
        run = subprocess.run([build / "tools" / program, *options], capture_output=True, text=True,
                             timeout=10)
        said = run.stderr.strip()
        check(" ".join([program, *options]),
              run.returncode == 2 and said.startswith(program + ": ") and "\n" not in said, said)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    for test in (refused_options, refused_certificates, plain, many_domains, refusals_retried,
                 refusals_final, broken_sessions, under_tls, broken_tls, no_tls, peer_of_python,
                 resumed_for_python, ends):
        test(build)
    print(f"{failures} checks failed" if failures else "all checks passed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
