"""The engine as a party, configured from the scenario.

    engine = sluice.start(run, sink.address)     # awaited; `begin` only starts it
    load = parties.start_load(run, engine.address)
    ...
    engine.used()                    # so far; engine.before: when it had started
    engine.end_drained()
"""

import signal

from . import parties

SPOOL_S = 600  # A spool of many millions is read so long.

CONFIG = """
hostname = "mta.example.net"
[engine]
shards = {shards}
[[listener]]
address = "127.0.0.1:0"
relay_from = ["127.0.0.0/8"]
{certificate}
[spool]
path = "{spool}"
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
"""
CERTIFICATE = """
[[certificate]]
name = "bench"
certificate = "bench.pem"
key = "bench.key"
"""


def configuration(scenario, spool):
    return CONFIG.format(
        spool=spool,
        shards=scenario.engine.shards,
        certificate='certificate = "bench"' if scenario.tls.injection else "",
        sync="true" if scenario.engine.sync else "false",
        retry_s=scenario.engine.retry_s,
    ) + (CERTIFICATE if scenario.tls.injection else "")


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
    def await_listening(self):
        self.address = self.line(r"listening on (\S+:\d+)").group(1)

    def await_spool(self):
        """How many messages were in it, when all are known."""
        return int(self.line(r"(\d+) messages in the spool", SPOOL_S).group(1))

    def end_drained(self, no_wait=False):
        """With its delivery log whole; `no_wait`: not for what is still under way."""
        if no_wait:
            self.tell(signal.SIGINT)  # The second signal ends the drain.
        self.end()


def start(run, sink_address, spool="spool", other_routes=""):
    """When all of its spool is known."""
    engine = begin(run, sink_address, spool, other_routes)
    engine.await_listening()
    engine.await_spool()
    engine.before = engine.used()
    return engine


def begin(run, sink_address, spool="spool", other_routes=""):
    """All mail goes to the sink but what other routes, as lines, say; the spool may be there."""
    run.write("sluice.toml", configuration(run.scenario, spool))
    run.write("destinations.ini", controls(run.scenario))
    run.write("routes", f"{other_routes}ALL {sink_address}\n")
    return Engine(run, "engine", [run.program("sluiced"), "--config", "sluice.toml"],
                  run.scenario.cores.engine)
