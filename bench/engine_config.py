"""The engine that the benchmarks of a queue start: so many shards, on a spool, any port."""

CONFIG = """
hostname = "mta.example.net"
[engine]
shards = {shards}
[[listener]]
address = "127.0.0.1:0"
relay_from = ["127.0.0.0/8"]
[spool]
path = "{spool}"
[destinations]
table = "destinations.ini"
[routes]
table = "routes"
[log]
delivery = "delivery.jsonl"
[control]
socket = "control.sock"
"""
