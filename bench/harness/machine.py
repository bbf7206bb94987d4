"""Where and of what a result was taken: what every result carries beside its figures."""

import datetime
import json
import os
import platform
import re
import shutil
import subprocess

PACKAGES = {"wolfssl": "libwolfssl35", "liburing": "liburing2", "abseil": "libabsl20220623",
            "unbound": "libunbound8", "libcrypto": "libssl3", "xxhash": "libxxhash0",
            "glibc": "libc6"}


def describe(build):
    return {
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "spool_disk": file_system(build),
        "packages": {name: version(package) for name, package in PACKAGES.items()},
        "compiler": compiler(build),
        "buildtype": build_option(build, "buildtype"),
        "commit": commit(build),
        "built_from_it": is_current(build),
        "load_average": os.getloadavg()[0],
        "taken": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def cpu_model():
    with open("/proc/cpuinfo") as cpuinfo:
        found = re.search(r"^model name\s*: (.*)$", cpuinfo.read(), re.M)
    return found.group(1) if found else platform.machine()


def file_system(folder):
    """Type and options, such as "ext4 rw,relatime", of what holds the spools."""
    if not shutil.which("findmnt"):
        return None
    return _said(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", "--target", folder])


def version(package):
    """Of an installed package of Debian's; None where it is not one."""
    if not shutil.which("dpkg-query"):
        return None
    return _said(["dpkg-query", "-W", "-f=${Version}", package])


def compiler(build):
    """As meson found it, such as "gcc 12.2.0"."""
    try:
        with open(os.path.join(build, "meson-logs", "meson-log.txt")) as log:
            found = re.search(r"^C\+\+ compiler for the host machine: .*?\((\w+ [\d.]+)",
                              log.read(), re.M)
    except OSError:
        return None
    return found.group(1) if found else None


def build_option(build, name):
    for option in _introspection(build, "intro-buildoptions.json") or []:
        if option["name"] == name:
            return option["value"]
    return None


def commit(build):
    """Of the tree that the build was configured from, with "+dirty" where that has changes."""
    tree = source(build)
    if tree is None:
        return None
    head = _said(["git", "-C", tree, "rev-parse", "HEAD"])
    if head is None:
        return None
    changed = _said(["git", "-C", tree, "status", "--porcelain", "--untracked-files=no"])
    return head + ("+dirty" if changed else "")


def is_current(build):
    """Whether ninja would build nothing: the programs are those of `commit`. None: no one knows."""
    said = _said(["ninja", "-C", build, "-n", "tools/sluiced"]) if shutil.which("ninja") else None
    return None if said is None else "no work to do" in said


def source(build):
    """The tree that the build was configured from."""
    info = _introspection(build, "meson-info.json")
    return info["directories"]["source"] if info else None


def _introspection(build, name):
    try:
        with open(os.path.join(build, "meson-info", name)) as file:
            return json.load(file)
    except OSError:
        return None


def _said(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None
