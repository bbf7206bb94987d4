"""What is measured, as a TOML file names it; KEYS has all of it, with what each key may be.

    scenario = load("plain_pipelined")         # of bench/scenarios, or the path of a file
    scenario.messages, scenario.limits.concurrency, scenario.as_read

Whatever is unknown or wrong is refused as `FILE: KEY: what is right`.
"""

import os
import re
import tomllib
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Callable

FOLDER = os.path.join(os.path.dirname(__file__), "..", "scenarios")

# Of delivery: none; a connection's messages share a handshake; each message has its own; its own,
# which resumes the session of the one before.
TLS = ("off", "reuse", "per_message", "resumed")
ONE_MESSAGE_EACH = ("per_message", "resumed")


class WrongScenario(Exception):
    pass


@dataclass(frozen=True)
class Key:
    default: Any
    right: str  # What it must be, as the refusal says it.
    is_right: Callable[[Any], bool]


def whole(default, least, most=10**9):
    return Key(default, f"must be a whole number from {least} to {most}",
               lambda value: type(value) is int and least <= value <= most)


def flag(default):
    return Key(default, "must be true or false", lambda value: type(value) is bool)


def share(default):
    return Key(default, "must be a share, from 0 to 1",
               lambda value: type(value) in (int, float) and 0 <= value <= 1)


def text(default, pattern, right):
    return Key(default, f"must be {right}",
               lambda value: type(value) is str and re.fullmatch(pattern, value) is not None)


def one_of(default, *words):
    return text(default, "|".join(words), "one of " + ", ".join(f'"{word}"' for word in words))


def cores(default):
    return Key(default, "must be a list of cores, such as [0]; [] does not pin",
               lambda value: type(value) is list and len(set(map(str, value))) == len(value)
               and all(type(core) is int and core >= 0 for core in value))


KEYS = {
    "messages": whole(20000, 1),
    # false: neither is what is injected, nor does the sink offer it.
    "pipelining": flag(True),
    # The scenario whose CPU a message this one's is divided by, where both are run.
    "beside": text("", r"\w*", "the name of a scenario"),
    "mail.size": whole(10240, 200, 1 << 30),
    "mail.sizes": text("", r"(\d+[km]?:\d+(,\d+[km]?:\d+)*|exponential:\d+[km]?)?",
                       'a mix, such as "2k:50,10k:40,100k:10" or "exponential:10k"'),
    "mail.recipients": whole(1, 1, 100),
    "domains.count": whole(10, 1, 1_000_000),
    "domains.distribution": text("uniform", r"uniform|zipf(:\d+(\.\d+)?)?",
                                 '"uniform", "zipf" or "zipf:S"'),
    "limits.concurrency": whole(20, 1, 1000),
    "limits.messages_per_connection": whole(1000, 1, 1000),
    "limits.recipients_per_minute": whole(0, 0),  # 0: no limit.
    "tls.delivery": one_of("off", *TLS),
    # Where it is "resumed": the share of handshakes that the sink gives a ticket for.
    "tls.share_resumed": share(1.0),
    "tls.injection": flag(False),
    "sink.faults": Key([], "must be a list of texts as sluice-sink's --fault takes them",
                       lambda value: type(value) is list and all(
                           type(each) is str and "=" in each for each in value)),
    # Whether it offers CHUNKING.
    "sink.chunking": flag(True),
    # Of each message's end.
    "sink.latency_ms": whole(0, 0, 60_000),
    # One more domain, slow.example, answers RCPT so late; so many messages wait for it.
    "sink.slow_s": whole(0, 0, 250),
    "sink.slow_waiting": whole(1000, 1),
    # false: straight from the source to the sink, the bare dialogue.
    "engine.present": flag(True),
    "engine.shards": whole(1, 1, 64),
    "engine.sync": flag(True),
    "engine.retry_s": whole(60, 1, 3600),
    "cores.engine": cores([0]),
    "cores.source": cores([1]),
    "cores.sink": cores([1]),
    "source.connections": whole(100, 1, 16_000),
    "source.rate": Key(0, "must be messages a second; 0: as fast as possible",
                       lambda value: type(value) in (int, float) and value >= 0),
}
SECTIONS = {key.split(".")[0] for key in KEYS if "." in key}


def load(name):
    """A scenario of bench/scenarios by its name, or of a file by its path."""
    path = name if name.endswith(".toml") else os.path.join(FOLDER, f"{name}.toml")
    shown = os.path.relpath(path)
    try:
        with open(path, "rb") as file:
            return parse(tomllib.load(file), os.path.basename(path)[: -len(".toml")], shown)
    except FileNotFoundError:
        raise WrongScenario(f"{shown}: no such file; there are: {', '.join(names())}") from None
    except tomllib.TOMLDecodeError as error:
        raise WrongScenario(f"{shown}: {error}") from None


def unpinned(shards, **limits):
    """For a program that measures in its own way: the defaults, but for these."""
    return parse({"engine": {"shards": shards}, "limits": limits,
                  "cores": {"engine": [], "source": [], "sink": []}}, "unpinned", "unpinned")


def names():
    return sorted(name[: -len(".toml")] for name in os.listdir(FOLDER) if name.endswith(".toml"))


def parse(table, name, file):
    """A scenario of what a file says."""
    said = dict(_flatten(table, file))
    for key, value in said.items():
        _check(key, value, file)
    settings = {key: said.get(key, KEYS[key].default) for key in KEYS}
    if settings["tls.delivery"] in ONE_MESSAGE_EACH:
        settings["limits.messages_per_connection"] = said.get("limits.messages_per_connection", 1)
    for key, wrong in _contradictions(settings, said):
        raise WrongScenario(f"{file}: {key}: {wrong}")
    return Scenario(name, settings)


def _flatten(table, file):
    for key, value in table.items():
        if key in SECTIONS:
            if type(value) is not dict:
                raise WrongScenario(f"{file}: {key}: must be a table, [{key}]")
            yield from ((f"{key}.{below}", each) for below, each in value.items())
        else:
            yield key, value


def _check(key, value, file):
    if key not in KEYS:
        section = key.split(".")[0] + "." if "." in key else ""
        near = [known for known in KEYS if known.startswith(section)]
        raise WrongScenario(f"{file}: {key}: no such key; there are: {', '.join(near)}")
    if not KEYS[key].is_right(value):
        raise WrongScenario(f"{file}: {key}: {KEYS[key].right}, not {value!r}")


def _contradictions(settings, said):
    """What is right by itself and wrong together: the key, and what to do."""
    if "mail.size" in said and settings["mail.sizes"]:
        yield "mail.size", "leave it out where mail.sizes says a mix"
    delivery = settings["tls.delivery"]
    if delivery in ONE_MESSAGE_EACH and settings["limits.messages_per_connection"] != 1:
        yield "limits.messages_per_connection", f'must be 1 where tls.delivery is "{delivery}"'
    if "tls.share_resumed" in said and delivery != "resumed":
        yield "tls.share_resumed", 'says nothing unless tls.delivery is "resumed"'
    if settings["mail.recipients"] > 1 and any("stage=rcpt" in fault and "reply=" in fault
                                               for fault in settings["sink.faults"]):
        yield "sink.faults", ("a refused RCPT splits a message of several recipients, and its parts"
                              " would be counted as messages; mail.recipients must be 1")
    if not settings["engine.present"]:
        for key in said:
            if key.startswith(("engine.", "limits.rec", "limits.conc", "tls.injection")) \
                    and key != "engine.present":
                yield key, "says nothing where engine.present is false"
        if settings["sink.slow_s"]:
            yield "sink.slow_s", "needs an engine, in which the mail waits"
        if delivery == "resumed":
            yield "tls.delivery", '"resumed" needs an engine: sluice-load keeps no session'


class Scenario:
    """One section is one attribute: scenario.limits.concurrency."""

    def __init__(self, name, settings):
        self.name, self.as_read = name, dict(settings)
        for key, value in settings.items():
            section, _, below = key.rpartition(".")
            if not section:
                setattr(self, key, value)
                continue
            if not hasattr(self, section):
                setattr(self, section, SimpleNamespace())
            setattr(getattr(self, section), below, value)
        self.tls.under_way = self.tls.delivery != "off"
        self.tls.tickets = self.tls.share_resumed if self.tls.delivery == "resumed" else 0
        self.sink.all_faults = list(self.sink.faults)
        if self.sink.latency_ms:
            self.sink.all_faults.append(f"stage=dot,action=delay,delay_ms={self.sink.latency_ms}")
        if self.sink.slow_s:
            self.sink.all_faults.insert(
                0, f"stage=rcpt,action=delay,delay_ms={1000 * self.sink.slow_s},"
                   f"domain={SLOW_DOMAIN}")

    def with_messages(self, messages):
        """The same, of another length; a queue that waits is shorter as well."""
        settings = self.as_read | {"messages": messages}
        settings["sink.slow_waiting"] = min(settings["sink.slow_waiting"], messages)
        return Scenario(self.name, settings)


SLOW_DOMAIN = "slow.example"
