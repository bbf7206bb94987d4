"""The engine as a party: configured from the scenario, one life a run.

    engine = sluice.start(run, sink.address)
    load = parties.start_load(run, engine.address)
    ...
    engine.used()                    # so far; engine.before: when it had started
    engine.end_drained()
"""

import signal

from . import parties

CONFIG = """
hostname = "mta.example.net"
[engine]
shards = {shards}
[[listener]]
address = "127.0.0.1:0"
relay_from = ["127.0.0.0/8"]
{certificate}
[spool]
path = "spool"
sync = {sync}
[destinations]
table = "destinations.ini"
[routes]
table = "routes"
[[bounce_profile]]
name = "Default"
initial_retry_s = {retry_s}
[log]
delivery = "delivery.jsonl"
[control]
socket = "control.sock"
[[certificate]]
name = "bench"
certificate = "bench.pem"
key = "bench.key"
"""


def configuration(scenario):
    return CONFIG.format(
        shards=scenario.engine.shards,
        certificate='certificate = "bench"' if scenario.tls.injection else "",
        sync="true" if scenario.engine.sync else "false",
        retry_s=scenario.engine.retry_s,
    )


def controls(scenario):
    """destinations.ini."""
    limits = scenario.limits
    lines = [
        "[DEFAULT]",
        f"max_host_concurrency = {limits.concurrency}",
        f"max_messages_per_connection = {limits.messages_per_connection}",
        f"table_tls = {'required' if scenario.tls.under_way else 'off'}",
    ]
    if limits.recipients_per_minute:
        lines += ["recipient_minutes = 1", f"recipient_limit = {limits.recipients_per_minute}"]
    return "\n".join(lines) + "\n"


class Engine(parties.Party):
    def end_drained(self, no_wait=False):
        """With its delivery log whole; `no_wait`: not for what is still under way."""
        if no_wait:
            self.process.send_signal(signal.SIGINT)  # The second signal ends the drain.
        self.end()


def start(run, sink_address, wrap=()):
    """On an empty spool; `wrap` is a command that runs it, such as valgrind.
    The folder has a certificate by now."""
    run.write("sluice.toml", configuration(run.scenario))
    run.write("destinations.ini", controls(run.scenario))
    run.write("routes", f"ALL {sink_address}\n")
    command = [*wrap, run.program("sluiced"), "--config", "sluice.toml"]
    engine = Engine(run, "engine", command, run.scenario.cores.engine)
    engine.address = engine.line(r"listening on (\S+:\d+)").group(1)
    engine.line("messages in the spool")
    engine.before = engine.used()
    return engine
