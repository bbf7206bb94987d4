#!/usr/bin/env python3
"""sluiced --check: all errors of a configuration and its tables at once, each with its place.

Usage: check_test.py BUILD_DIR
"""

import subprocess

from engine_run import CONFIG, Run, build_folder, expect, expect_equal, run_scenarios

VALID = CONFIG.format(shards=1, address="127.0.0.1:0", listener="", spool="spool", profile="",
                      destinations="", sync="true", spool_keys="")

BROKEN = """\
hostname = "mta.example.net"
colour = "green"
[engine]
shards = -1
[[listener]]
address = "nowhere"
[destinations]
table = "destinations.ini"
[routes]
table = "routes"
"""


def check(run, config, table, routes):
    """Exit code and lines of sluiced --check."""
    run.write("sluice.toml", config)
    run.write("destinations.ini", table)
    run.write("routes", routes)
    done = subprocess.run([run.tool("sluiced"), "--config", "sluice.toml", "--check"],
                          cwd=run.folder, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr.splitlines(), done.stdout.splitlines()


def places(lines):
    """file:line of each; every line must have the form file:line: text."""
    found = []
    for line in lines:
        parts = line.split(":", 2)
        expect(len(parts) == 3 and parts[1].isdigit() and parts[2].startswith(" "),
               f"not file:line: text, but: {line}")
        found.append(f"{parts[0].rsplit('/', 1)[-1]}:{parts[1]}")
    return found


def valid_configuration(build):
    with Run(build) as run:
        code, errors, said = check(run, VALID, "[DEFAULT]\nmax_host_concurrency = 5\n",
                                   "a.example 127.0.0.1:25\n")
        expect_equal((code, errors), (0, []), "exit and errors")
        expect(len(said) == 1 and "valid" in said[0], f"it said {said}")
        expect(not (run.folder / "spool").exists(), "a check must not make a spool")


def all_errors_at_once(build):
    with Run(build) as run:
        table = "[DEFAULT]\nmax_host_concurrency = 0\n[a.example]\nmax_colours = 3\n"
        routes = "a.example 127.0.0.1:25\nb.example 127.0.0.1:99999\nc.example\n"
        code, errors, _ = check(run, BROKEN, table, routes)
        expect_equal(code, 1, "exit")
        expect_equal(places(errors),
                     ["sluice.toml:2", "sluice.toml:4", "sluice.toml:6", "destinations.ini:2",
                      "destinations.ini:4", "routes:2", "routes:3"], "the places of errors")


def missing_dependency(build):
    with Run(build) as run:
        table = "[a.example]\nrecipient_limit = 5\n"
        code, errors, _ = check(run, VALID, table, "")
        expect_equal(code, 1, "exit")
        expect(places(errors) and all(place.startswith("destinations.ini:")
                                      for place in places(errors)), f"errors: {errors}")


def missing_files(build):
    with Run(build) as run:
        run.write("sluice.toml", VALID)
        done = subprocess.run([run.tool("sluiced"), "--config", "sluice.toml", "--check"],
                              cwd=run.folder, capture_output=True, text=True, timeout=30)
        expect_equal(done.returncode, 1, "exit without tables")
        expect_equal(places(done.stderr.splitlines()), ["destinations.ini:1", "routes:1"],
                     "the places of errors")
        done = subprocess.run([run.tool("sluiced"), "--config", "other.toml", "--check"],
                              cwd=run.folder, capture_output=True, text=True, timeout=30)
        expect_equal(done.returncode, 1, "exit without a configuration")
        expect_equal(places(done.stderr.splitlines()), ["other.toml:1"], "the places of errors")


def broken_configuration_does_not_start(build):
    with Run(build) as run:
        run.write("sluice.toml", BROKEN)
        run.write("destinations.ini", "")
        run.write("routes", "")
        program = run.start(run.tool("sluiced"), "--config", "sluice.toml")
        expect_equal(program.wait(), 1, "exit")
        expect_equal(places(program.lines), ["sluice.toml:2", "sluice.toml:4", "sluice.toml:6"],
                     "the places of errors")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), valid_configuration, all_errors_at_once,
                  missing_dependency, missing_files, broken_configuration_does_not_start)
