"""From the 250 to the dot to its delivery, out of delivery.jsonl.

Its timestamps are whole seconds, but a delivery tells its stages in microseconds. A message is
queued when the batch that its 250 waits for is durable, so for what the first attempt delivered the
stages queue (which holds looking up and connecting), envelope and data sum to the time from 250 to
delivered. After an attempt that failed the stages are the last attempt's only: then it is the
difference of the timestamps, right to a second.
"""

import json

from . import stats

SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}


def of_log(path, leave_out=None):
    """The percentiles in milliseconds, over recipients; not those of the domain `leave_out`."""
    with open(path) as log:
        times = times_ms(map(json.loads, log), leave_out)
    times.sort()
    return {name: stats.percentile(times, share) for name, share in SHARES.items()}


def times_ms(lines, leave_out=None):
    """A time a delivered recipient."""
    received, failed, times = {}, set(), []
    for line in lines:
        kind, key = line["type"], (line.get("id"), line.get("recipient"))
        if line.get("queue") == leave_out and leave_out is not None:
            continue
        if kind == "Reception":
            received[key[0]] = line["timestamp"]
        elif kind == "TransientFailure":
            failed.add(key)
        elif kind == "Delivery" and key in failed:
            times.append(1e3 * (line["timestamp"] - received[key[0]]))
        elif kind == "Delivery":
            stages = line["stages"]
            times.append(1e3 * (stages["queue"] + stages["envelope"] + stages["data"]))
    return times
