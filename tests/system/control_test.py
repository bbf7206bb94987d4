#!/usr/bin/env python3
"""The control socket and the verbs of `sluice` that use it.

Usage: control_test.py BUILD_DIR
"""

import json
import os
import pwd
import smtplib
import socket
import stat
import subprocess
import threading

from engine_run import Run, build_folder, expect, expect_equal, route, run_scenarios

SOCKET = "control.sock"


def sluice(run, *words, **options):
    done = subprocess.run([run.tool("sluice"), *words], cwd=run.folder, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=60, **options)
    return done.returncode, done.stdout, done.stderr


def verb(run, *words):
    return sluice(run, *words, "--socket", run.folder / SOCKET)


def http(run, request):
    """The status and the body of a raw request."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect(str(run.folder / SOCKET))
        link.sendall(request)
        said = b""
        while piece := link.recv(1 << 16):
            said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def status_is_told(build):
    with Run(build) as run:
        engine = run.engine(shards=2)
        code, told, _ = verb(run, "status", "--json")
        told = json.loads(told)
        expect_equal((code, told["hostname"], told["table_version"], told["listening"][0]),
                     (0, "mta.example.net", 1, engine.address), "the status")
        expect_equal([(shard["shard"], shard["messages"]) for shard in told["shards"]],
                     [(0, 0), (1, 0)], "the shards")
        code, told, _ = verb(run, "status")
        expect_equal(code, 0, "the exit code")
        expect(engine.address in told and "tables version 1" in told, told)


def reload_takes_all_or_nothing(build):
    with Run(build) as run:
        engine = run.engine(table="[DEFAULT]\nmax_host_concurrency = 5\n")
        engine.set_table("[DEFAULT]\nmax_host_concurrency = 6\n")
        expect_equal(verb(run, "reload"), (0, "tables version 2 in use\n", ""), "a good table")
        engine.set_table("[DEFAULT]\nmax_host_concurrency = 0\n[a.example]\nnonsense = 1\n")
        code, told, errors = verb(run, "reload")
        expect_equal((code, told), (1, ""), "a table with errors")
        for words in ("old ones stay", "destinations.ini:2: ", "destinations.ini:4: "):
            expect(words in errors, errors)
        code, told, _ = verb(run, "reload", "--json")
        expect_equal((code, len(json.loads(told)["errors"])), (1, 2), "the errors as JSON")
        expect_equal(json.loads(verb(run, "status", "--json")[1])["table_version"], 2,
                     "the version in use")


def what_holds_mail_back_is_told(build):
    """At first nothing is known of the destination; then its host does not answer."""
    with Run(build) as run:
        engine = run.engine(routes=route("held.example", 1),
                            profile="initial_retry_s = 3600\nmax_retry_s = 3600",
                            table="[held.example]\nmax_host_concurrency = 7\n"
                                  "limit_type = host\nlimit_apply = system\n")
        code, told, _ = verb(run, "hoststatus", "held.example")
        expect_equal(code, 0, "the exit code")
        expect("nothing waits" in told, told)
        with smtplib.SMTP(*engine.host_and_port()) as client:
            for _ in range(3):
                client.sendmail("a@near.example", ["b@held.example"], "Subject: x\r\n\r\nx\r\n")
        engine.wait_events(1, "TransientFailure")
        told = json.loads(verb(run, "hoststatus", "HELD.example.", "--json")[1])
        expect_equal((told["domain"], told["binding_limit"], told["waiting"], told["failures"],
                      told["concurrency_limit"]), ("held.example", "hosts", 2, 1, 7), "the status")
        expect(0 < told["look_again_s"] <= 3600 * 1.5, f"look again in {told['look_again_s']} s")
        expect("refused" in told["last_reply"].lower(), told["last_reply"])
        code, told, _ = verb(run, "hoststatus", "held.example")
        for words in ("hosts: no host", "2 messages", "0 of 7, 0 opening", "127.0.0.1:1"):
            expect(words in told, f"{words!r} is not in {told}")
        code, _, errors = verb(run, "hoststatus", "no..domain")
        expect_equal(code, 1, f"the exit code for what is no domain ({errors})")


def nobody_answers_without_an_engine(build):
    with Run(build) as run:
        code, told, errors = verb(run, "status")
        expect_equal((code, told), (2, ""), "the exit code and what was printed")
        expect("no engine answers" in errors and SOCKET in errors, errors)
        engine = run.engine()
        engine.drain()
        expect(not (run.folder / SOCKET).exists(), "the socket is still there")


def socket_may_be_named_by_the_environment(build):
    with Run(build) as run:
        run.engine()
        place = dict(os.environ, SLUICE_SOCKET=str(run.folder / SOCKET))
        expect_equal(sluice(run, "status", env=place)[0], 0, "the exit code")


def only_its_user_may_ask(build):
    """By the file's mode; and where that was widened, by who asks."""
    with Run(build) as run:
        run.engine()
        path = run.folder / SOCKET
        mode = path.stat().st_mode
        expect_equal((stat.S_ISSOCK(mode), stat.S_IMODE(mode)), (True, 0o600), "the socket's mode")
        path.chmod(0o666)
        nobody = pwd.getpwnam("nobody").pw_uid
        ask = ("import socket, sys\nlink = socket.socket(socket.AF_UNIX)\nlink.settimeout(30)\n"
               "link.connect(sys.argv[1])\ntry:\n"
               "    link.sendall(b'GET /v1/status HTTP/1.1\\r\\n\\r\\n')\n"
               "    print(len(link.recv(100)))\nexcept OSError:\n    print(0)\n")
        done = subprocess.run(["python3", "-c", ask, str(path)], capture_output=True, text=True,
                              user=nobody, timeout=60)
        expect_equal((done.returncode, done.stdout), (0, "0\n"), f"another user ({done.stderr})")
        expect_equal(verb(run, "status")[0], 0, "its own user")


def leftover_socket_is_replaced_and_a_living_one_is_not(build):
    with Run(build) as run:
        engine = run.engine()
        engine.kill()
        expect((run.folder / SOCKET).exists(), "a killed engine leaves its socket")
        engine.start()
        expect_equal(verb(run, "status")[0], 0, "the exit code after a kill")
        second = run.start(run.tool("sluiced"), "--config", "sluice.toml")
        expect_equal(second.wait(), 1, "the second engine's exit code")
        expect("another engine answers" in second.said(), second.said())
        expect_equal(verb(run, "status")[0], 0, "the first engine answers")


def files_are_never_replaced(build):
    with Run(build) as run:
        run.write(SOCKET, "precious")
        program = run.engine(start=False).launch()
        expect_equal(program.wait(), 1, "the exit code")
        expect("control socket" in program.said(), program.said())
        expect_equal((run.folder / SOCKET).read_text(), "precious", "the file")


def folder_of_the_socket_is_made(build):
    with Run(build) as run:
        engine = run.engine(start=False)
        engine.write_config()
        config = run.folder / "sluice.toml"
        config.write_text(config.read_text().replace(SOCKET, "run/sluice/control.sock"))
        program = run.start(run.tool("sluiced"), "--config", "sluice.toml")
        program.wait_line("listening on")
        made = run.folder / "run/sluice/control.sock"
        expect_equal(sluice(run, "status", "--socket", made)[0], 0, "the exit code")


def what_is_no_request_is_refused(build):
    with Run(build) as run:
        run.engine()
        for request, wanted in ((b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
                                (b"POST /v1/status HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404),
                                (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
                                (b"nonsense\r\n\r\n", 400)):
            expect_equal(http(run, request)[0], wanted, f"the status of {request!r}")
        body = json.loads(http(run, b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")[1])
        expect("/v1/nothing" in body["error"], body)
        expect_equal(verb(run, "status")[0], 0, "the exit code afterwards")


def silent_clients_do_not_shut_others_out(build):
    """Fewer than there are threads; they are thrown out in time."""
    with Run(build) as run:
        run.engine()
        silent = []
        for _ in range(3):
            link = socket.socket(socket.AF_UNIX)
            link.connect(str(run.folder / SOCKET))
            link.sendall(b"GET /v1/st")
            silent.append(link)
        expect_equal(verb(run, "status")[0], 0, "the exit code")
        for link in silent:
            link.settimeout(30)
            while link.recv(1000):
                pass
            link.close()


def many_ask_at_once(build):
    with Run(build) as run:
        run.engine()
        codes = []

        def ask():
            for _ in range(10):
                codes.append(http(run, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")[0])
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect_equal(codes, [200] * 160, "the statuses")


def engine_that_ends_says_so(build):
    """While requests come, it drains and ends with 0."""
    with Run(build) as run:
        engine = run.engine()
        stop, seen = threading.Event(), set()

        def ask():
            while not stop.is_set():
                try:
                    seen.add(http(run, b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")[0])
                except (OSError, IndexError):
                    seen.add("closed")
        thread = threading.Thread(target=ask)
        thread.start()
        engine.drain()
        stop.set()
        thread.join()
        expect(seen <= {200, 503, "closed"}, f"{seen}")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), status_is_told, reload_takes_all_or_nothing,
                  what_holds_mail_back_is_told, nobody_answers_without_an_engine,
                  socket_may_be_named_by_the_environment, only_its_user_may_ask,
                  leftover_socket_is_replaced_and_a_living_one_is_not, files_are_never_replaced,
                  folder_of_the_socket_is_made, what_is_no_request_is_refused,
                  silent_clients_do_not_shut_others_out, many_ask_at_once,
                  engine_that_ends_says_so)
