#!/usr/bin/env python3
"""Loads JSON lines through many pipelined connections, kills the server in the middle, and audits it.

The first load writes every entry. The second writes every entry again with a changed value; when a share of
it is acknowledged, the server gets kill -9. After a restart every key must be there, and it must hold

  * the second value, if that write was acknowledged before the kill;
  * the first or the second value otherwise (an unanswered write may or may not have happened).

Prints figures; exit code 1 on a violation. Speaks the protocol itself, so it needs no client library.

    scripts/debian-packages.py | scripts/kill9-load.py - [--connections 50] [--pipeline 64]
"""

import argparse
import base64
import json
import random
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True  # No cache beside the scripts.

from serving import Server, find_binary


def read_entries(name):
    """The entries of a JSON-lines file; the last one of a key wins."""
    lines = sys.stdin if name == "-" else open(name, encoding="utf-8")
    entries = {}
    for line in lines:
        if line.strip():
            record = json.loads(line)
            field = lambda name: record[name].encode() if name in record else base64.b64decode(record[name + "_b64"])
            entries[field("key")] = field("value")
    return entries


def changed(value):
    """The value of the second load."""
    return b"second " + value


def command(*arguments):
    """A request as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    return b"".join(parts)


class Connection:
    """A connection that sends groups of commands and reads their replies."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb", buffering=1 << 16)

    def reply(self):
        """One reply: bytes, None, or the text of a simple string or number."""
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server went away")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind != b"$":
            return rest
        length = int(rest)
        if length < 0:
            return None
        data = self.input.read(length + 2)
        if len(data) != length + 2:
            raise ConnectionError("the server went away")
        return data[:-2]


class Loader(threading.Thread):
    """Writes its share of the entries; `acknowledged` is what the server said OK to."""

    def __init__(self, port, entries, pipeline, counter):
        super().__init__(daemon=True)
        self.port, self.entries, self.pipeline, self.counter = port, entries, pipeline, counter
        self.acknowledged = []
        self.error = None

    def run(self):
        try:
            connection = Connection(self.port)
            for start in range(0, len(self.entries), self.pipeline):
                group = self.entries[start : start + self.pipeline]
                connection.socket.sendall(b"".join(command(b"SET", key, value) for key, value in group))
                for key, _ in group:
                    if connection.reply() != b"OK":
                        raise RuntimeError("SET was not answered with OK")
                    self.acknowledged.append(key)
                    self.counter.add()
        except OSError as error:
            self.error = error
        except RuntimeError as error:
            self.error = error


class Counter:
    """Counts over all threads and wakes who waits for a number."""

    def __init__(self, goal):
        self.lock, self.count, self.goal, self.reached = threading.Lock(), 0, goal, threading.Event()

    def add(self):
        with self.lock:
            self.count += 1
            if self.count >= self.goal:
                self.reached.set()


def load(port, entries, options, stop_after=None, stop=None):
    """Loads through all connections; returns the acknowledged keys, the errors and the seconds."""
    entries = list(entries.items())
    random.Random(1).shuffle(entries)
    counter = Counter(stop_after if stop_after is not None else len(entries) + 1)
    shares = [entries[n :: options.connections] for n in range(options.connections)]
    loaders = [Loader(port, share, options.pipeline, counter) for share in shares]
    started = time.monotonic()
    for loader in loaders:
        loader.start()
    if stop:
        while not counter.reached.wait(0.05) and any(loader.is_alive() for loader in loaders):
            pass
        stop()
    for loader in loaders:
        loader.join()
    seconds = time.monotonic() - started
    acknowledged = {key for loader in loaders for key in loader.acknowledged}
    return acknowledged, [loader.error for loader in loaders if loader.error], seconds


def audit(port, entries, acknowledged):
    """Compares every key; returns (second values found, first values found, violations)."""
    connection = Connection(port)
    second = first = 0
    violations = []
    keys = list(entries)
    for start in range(0, len(keys), 256):
        group = keys[start : start + 256]
        connection.socket.sendall(b"".join(command(b"GET", key) for key in group))
        for key in group:
            found = connection.reply()
            if found == changed(entries[key]):
                second += 1
            elif found == entries[key] and key not in acknowledged:
                first += 1
            else:
                what = "missing" if found is None else "old" if found == entries[key] else "wrong"
                violations.append((key, what, key in acknowledged))
    return second, first, violations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="JSON lines with key and value; - reads standard input")
    parser.add_argument("--binary", help="the terrace binary; by default the newest one built here")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--pipeline", type=int, default=64, help="commands sent before their replies are read")
    parser.add_argument("--kill-after", type=float, default=0.5, help="the share of the second load before the kill")
    parser.add_argument("--durability", default="interval", choices=["process", "interval", "sync"])
    options = parser.parse_args()
    binary, entries = find_binary(options.binary), read_entries(options.file)
    size = sum(len(key) + len(value) for key, value in entries.items())
    print(f"{len(entries)} entries, {size / 2**20:.1f} MiB, {options.connections} connections × {options.pipeline}")
    with tempfile.TemporaryDirectory(prefix="terrace-kill9-") as directory:
        store = Path(directory) / "store"
        flags = ["--durability", options.durability]
        with Server(binary, store, *flags) as server:
            acknowledged, errors, seconds = load(server.port, entries, options)
            if errors or len(acknowledged) != len(entries):
                sys.exit(f"the first load failed: {len(acknowledged)} acknowledged, {errors[:3]}")
            print(f"first load: {len(entries) / seconds:,.0f} SET/s, {size / seconds / 2**20:.1f} MiB/s")
            rewritten = {key: changed(value) for key, value in entries.items()}
            goal = max(1, int(len(entries) * options.kill_after))
            acknowledged, errors, _ = load(server.port, rewritten, options, goal, server.kill)
            odd = [error for error in errors if isinstance(error, RuntimeError)]
            if odd:
                sys.exit(f"the second load was refused: {odd[:3]}")
        if len(acknowledged) == len(entries):
            print("the second load ended before the kill; use more entries or a smaller --kill-after", file=sys.stderr)
        started = time.monotonic()
        with Server(binary, store, *flags) as server:
            print(f"killed after {len(acknowledged)} acknowledged rewrites; ready again in {time.monotonic() - started:.2f} s")
            second, first, violations = audit(server.port, entries, acknowledged)
            code = server.stop()
    print(f"after the restart: {second} second values, {first} first values, {len(violations)} violations")
    for key, what, promised in violations[:10]:
        print(f"  {key!r}: {what}{' although acknowledged' if promised else ''}")
    sys.exit(1 if violations or code != 0 else 0)


if __name__ == "__main__":
    main()
