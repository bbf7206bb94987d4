"""Sluice as one more relay, started and measured like the others."""

from harness import machine, scenario, sluice
from harness.peers.peer import Peer

# The others have twenty connections to one host; here limits are of a destination, and there are
# ten of them.
SCENARIO = scenario.unpinned(shards=1, concurrency=2)


class Sluice(Peer):
    name = "sluice"
    note = "one shard"
    synced = "its log, for many messages at once"
    files = ("sluice.toml", "destinations.ini", "routes")

    def configure(self):
        text = sluice.configuration(SCENARIO, "spool")
        self.write("sluice.toml", text.replace("127.0.0.1:0", f"127.0.0.1:{self.port}"))
        self.write("destinations.ini", sluice.controls(SCENARIO))
        self.write("routes", f"ALL 127.0.0.1:{self.sink_port}\n")

    def command(self):
        return [self.build / "tools" / "sluiced", "--config", "sluice.toml"]

    def version(self):
        return (machine.commit(self.build) or "unknown")[:12]
