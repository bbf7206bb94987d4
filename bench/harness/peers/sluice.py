"""Sluice as one more relay, measured like the others: one shard, its delivery log kept."""

from engine_config import CONFIG
from harness import machine
from harness.peers.peer import Peer

# The others have twenty connections to one host; here limits are of a destination, and there are
# ten of them.
CONTROLS = """\
[DEFAULT]
max_host_concurrency = 2
max_messages_per_connection = 1000
table_tls = off
"""


class Sluice(Peer):
    name = "sluice"
    note = "one shard"
    synced = "its log, for many messages at once"
    files = ("sluice.toml", "destinations.ini", "routes")

    def configure(self):
        text = CONFIG.format(shards=1, spool="spool")
        self.write("sluice.toml", text.replace("127.0.0.1:0", f"127.0.0.1:{self.port}"))
        self.write("destinations.ini", CONTROLS)
        self.write("routes", f"ALL 127.0.0.1:{self.sink_port}\n")

    def command(self):
        return [self.build / "tools" / "sluiced", "--config", "sluice.toml"]

    def version(self):
        return (machine.commit(self.build) or "of an unknown commit")[:12]
