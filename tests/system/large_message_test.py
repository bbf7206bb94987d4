#!/usr/bin/env python3
"""Messages far larger than the engine's memory: accepted and delivered byte for byte, in clear and
under TLS, on one shard whose process stays small; and a kill in the midst of a delivery.

Usage: large_message_test.py BUILD_DIR
"""

import contextlib
import pathlib

from certificates import Workshop
from engine_run import Run, build_folder, expect, expect_equal, route, run_scenarios, wait_until
from large_mail import Body, Hasher, send
from tls_host import server_context

MIB = 1 << 20
LARGE_BYTES = 1 << 30
SMALLER_BYTES = 200 * MIB  # Under TLS, and where it is sent twice.

# Of the process, at its worst, with one shard. A tenth of it is there when it is idle.
RESIDENT_BYTES_MAX = 64 * MIB

RECIPIENT = "r@large.example"


def resident_bytes_max(engine):
    """The most that the kernel has seen."""
    status = pathlib.Path(f"/proc/{engine.program.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def expect_small(engine):
    resident = resident_bytes_max(engine)
    expect(resident <= RESIDENT_BYTES_MAX,
           f"the engine had {resident // MIB} MiB resident, over {RESIDENT_BYTES_MAX // MIB}")
    return f"at most {resident // MIB} MiB resident"


class Scene:
    """An engine of one shard before a receiver that hashes."""

    def __init__(self, build, secret=False):
        self.build, self.secret = build, secret

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.run = stack.enter_context(Run(self.build))
            certificate = context = None
            if self.secret:
                workshop = Workshop(self.run.folder / "certificates")
                certificate = workshop.self_signed(["mta.example.net"])
                context = server_context(certificate)
            self.hasher = stack.enter_context(Hasher(context))
            self.stack = stack.pop_all()
        listener = f"max_message_bytes = {LARGE_BYTES}\n"
        if self.secret:
            listener += (f'certificate = "mta"\n[[certificate]]\nname = "mta"\n'
                         f'certificate = "{certificate.chain}"\nkey = "{certificate.key}"\n')
        table = "[DEFAULT]\ntable_tls = required\n" if self.secret else ""
        self.engine = self.run.engine(shards=1, listener=listener, table=table,
                                      routes=route("large.example", self.hasher.port))
        self.idle = resident_bytes_max(self.engine)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def send(self, size):
        """The engine puts its trace on top, which counts too."""
        return send(self.engine.host_and_port(), Body(size - 1000), RECIPIENT, self.secret)


def one_in_and_out(scene, size):
    sent = scene.send(size)
    received, = scene.hasher.wait_for(1)
    expect_equal(received.hashed, sent, "the body received")
    expect_equal(received.secret, scene.secret, "under TLS")
    wait_until(lambda: scene.engine.events("Delivery"), "the delivery is logged")
    said = expect_small(scene.engine)
    scene.engine.drain()
    return f"{size // MIB} MiB, {said}, {scene.idle // MIB} when idle"


def in_clear(build):
    with Scene(build) as scene:
        return one_in_and_out(scene, LARGE_BYTES)


def under_tls(build):
    with Scene(build, secret=True) as scene:
        return one_in_and_out(scene, SMALLER_BYTES)


def four_at_once(build):
    """To one host each, as the connections go."""
    with Scene(build) as scene:
        sent = [scene.send(SMALLER_BYTES // 4 + number) for number in range(4)]
        received = [message.hashed for message in scene.hasher.wait_for(4)]
        expect_equal(sorted(received), sorted(sent), "the bodies received")
        said = expect_small(scene.engine)
        scene.engine.drain()
        return said


def killed_in_the_midst(build):
    with Scene(build) as scene:
        scene.hasher.stops_at = SMALLER_BYTES // 4
        sent = scene.send(SMALLER_BYTES)
        expect(scene.hasher.stopped.wait(60), "the delivery did not get to its first quarter")
        scene.engine.kill()
        expect_equal(scene.hasher.received, [], "messages received before the kill")
        scene.hasher.may_go_on.set()
        expect_equal(scene.engine.start(), 1, "messages in the spool")
        received, = scene.hasher.wait_for(1)
        expect_equal(received.hashed, sent, "the body received")
        wait_until(lambda: scene.engine.events("Delivery"), "the delivery is logged")
        said = expect_small(scene.engine)
        scene.engine.drain()
        expect_equal(scene.engine.start(), 0, "messages in the spool at last")
        scene.engine.drain()
        return said


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), in_clear, under_tls, four_at_once, killed_in_the_midst)
