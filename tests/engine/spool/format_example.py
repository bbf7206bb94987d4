#!/usr/bin/env python3
"""The worked example of engine/spool/FORMAT.md, computed from that page's text alone.

    format_example.py           compares; prints `ok format_example` or `FAILED format_example: …`
    format_example.py --print   the example, for the page

A second hand: it knows nothing of the encoder in C++, whose test reads the page too. Only the
checksum is a library's.
"""

import ctypes
import os
import struct
import sys

PAGE = os.path.join(os.path.dirname(__file__), "..", "..", "..", "engine", "spool", "FORMAT.md")

SECOND = 1_000_000_000
START = 1767225600 * SECOND  # 2026-01-01 00:00:00 UTC.
MESSAGE = (START + SECOND) // 1000 << 8  # Made by shard 0.

WIRE = b"Subject: hi\r\n\r\nHello.\r\n.\r\n"


def xxh3(data, seed):
    function = ctypes.CDLL("libxxhash.so.0").XXH3_64bits_withSeed
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    function.restype = ctypes.c_uint64
    return function(data, len(data), seed)


def text(value):
    return struct.pack("<H", len(value)) + value


def record(segment, kind, payload):
    checked = struct.pack("<IBBBBQ", len(payload), kind, 0, 0, 0, segment) + payload
    padding = b"\0" * (-len(payload) % 8)
    return struct.pack("<Q", xxh3(checked, segment)) + checked + padding


def segment_record(number, created, previous=0, ended=0, ends=0, begins=0):
    return record(number, 1, b"SLUICELG" + struct.pack("<IIQqQQQQ", 2, 0, number, created,
                                                       previous, ended, ends, begins))


def recipient(address, destination):
    notify, state, attempts, next_attempt = 0, 0, 0, 0
    return (struct.pack("<BBHq", notify, state, attempts, next_attempt) + text(address) +
            text(destination) + text(b"") + text(b""))


def accepted(piece_offset):
    body_type, ret, flags, zero, recipients = 0, 0, 0, 0, 2
    return (struct.pack("<QqQQQBBBBI", MESSAGE, START + SECOND, 23, len(WIRE), xxh3(WIRE, 0),
                        body_type, ret, flags, zero, recipients) +
            text(b"s@example.org") + text(b"") +
            struct.pack("<I", 1) + struct.pack("<QII", 1, piece_offset, len(WIRE)) +
            recipient(b"a@example.com", b"example.com") +
            recipient(b"b@example.net", b"example.net"))


def window():
    part, scope, family, zero = 0, 0, 0, 0
    return (struct.pack("<QqqIBBBB", 1, START + 2 * SECOND, 3600 * SECOND, 16, part, scope, family,
                        zero) + bytes(16) + text(b"example.com") + text(b"") +
            struct.pack("<I", 1) + struct.pack("<qI", START + 2 * SECOND, 1))


def example():
    """The records as (name, where in the file, bytes), of segment 1 and the first of segment 2."""
    records = []
    place = {}

    def put(name, segment, kind, payload):
        offset = sum(len(bytes_) for _, _, bytes_ in records)
        encoded = record(segment, kind, payload)
        place[name] = (offset, len(encoded))
        records.append((name, offset, encoded))

    records.append(("segment", 0, segment_record(1, START)))
    put("body", 1, 2, struct.pack("<QQ", MESSAGE, 0) + WIRE)
    put("accepted", 1, 3, accepted(place["body"][0] + 24 + 16))
    put("outcome", 1, 4, struct.pack("<QIII", MESSAGE, 1, 1, 0))
    put("deferred", 1, 5, struct.pack("<QqIII", MESSAGE, START + 61 * SECOND, 1, 1, 1) +
        text(b"450 4.2.1 busy") + text(b"mx.example.net") + text(b"RCPT TO:<b@example.net>"))
    put("done", 1, 6, struct.pack("<Q", MESSAGE))
    put("window", 1, 8, window())

    shards = struct.pack("<QQQQ", 1, 0, 0, 0)
    put("index: ends", 1, 9, b"\0" +
        struct.pack("<BQBII", 2, MESSAGE, 1, 1, 0) +
        struct.pack("<BQIIHqII", 3, MESSAGE, *place["deferred"], 1, START + 61 * SECOND, 1, 1) +
        struct.pack("<BQ", 4, MESSAGE) +
        struct.pack("<BII", 6, *place["window"]) +
        struct.pack("<BQ", 1, MESSAGE) + shards)
    taken = place["body"][1] + place["accepted"][1]
    put("index: begins", 1, 9, b"\1" +
        struct.pack("<QIIQQqIII", MESSAGE, *place["accepted"], 1, taken, START + SECOND, 2, 0, 2) +
        struct.pack("<IIHq", 0, 1, 0, 0) + text(b"example.com") +
        struct.pack("<IIHq", 1, 1, 0, 0) + text(b"example.net"))
    end = sum(len(bytes_) for _, _, bytes_ in records)
    records.append(("segment 2", 0, segment_record(
        2, START + 3 * SECOND, 1, end, place["index: ends"][0], place["index: begins"][0])))
    return records


def lines():
    result = []
    for name, offset, encoded in example():
        result.append(f"; {name}, {len(encoded)} bytes at {offset}")
        for begin in range(0, len(encoded), 16):
            row = encoded[begin:begin + 16]
            result.append(f"{offset + begin:04x}  " + " ".join(f"{byte:02x}" for byte in row))
    return result


def main():
    if sys.argv[1:] == ["--print"]:
        print("\n".join(lines()))
        return 0
    with open(PAGE, encoding="utf-8") as page:
        on_page = page.read().split("```\n; segment,")[1].split("```")[0]
    on_page = ("; segment," + on_page).splitlines()
    for computed, stands in zip(lines(), on_page):
        if computed != stands:
            print(f"FAILED format_example: the page has {stands!r}, computed is {computed!r}")
            return 1
    if len(lines()) != len(on_page):
        print(f"FAILED format_example: {len(on_page)} lines on the page, computed {len(lines())}")
        return 1
    print("ok format_example")
    return 0


if __name__ == "__main__":
    sys.exit(main())
