#!/usr/bin/env python3
"""Exercises `terrace serve` with the clients people use: redis-cli, redis-benchmark and redis-py.

Starts a server on a free port and a temporary directory, runs the checks, stops the server and prints one
summary line. Exit code 1 if a check fails. redis-py is installed into a virtual environment when it is missing.

    scripts/client-check.py [--binary PATH] [--requests N]
"""

import argparse
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

sys.dont_write_bytecode = True  # No cache beside the scripts.

from serving import ROOT, Server, find_binary


def ensure_redis_py():
    """Goes on inside a virtual environment that has redis-py, when this interpreter has none."""
    if importlib.util.find_spec("redis"):
        return
    if os.environ.get("TERRACE_CHECK_VENV"):
        sys.exit("redis-py is missing although it was installed")
    home = ROOT / "target" / "client-check-venv"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "redis"], check=True)
    os.environ["TERRACE_CHECK_VENV"] = "1"
    os.execv(python, [str(python), *sys.argv])


class Checks:
    """Counts what was checked and remembers what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = []

    def equal(self, what, found, expected):
        if found == expected:
            self.passed += 1
        else:
            self.failed.append(what)
            print(f"FAILED {what}: found {found!r}, expected {expected!r}", file=sys.stderr)

    def run(self, check, *arguments):
        """Runs a group of checks; an exception fails the group and leaves the others alone."""
        try:
            return check(self, *arguments)
        except Exception as error:  # Whatever a client library may raise.
            self.failed.append(check.__name__)
            print(f"FAILED {check.__name__}: {type(error).__name__}: {error}", file=sys.stderr)

    def that(self, what, condition):
        self.equal(what, bool(condition), True)


def check_redis_cli(checks, port):
    """Plain commands, a missing key, binary data, and the mass-insert pipe."""

    def cli(*arguments, text=None):
        done = subprocess.run(
            ["redis-cli", "-p", str(port), *arguments], input=text, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    checks.equal("cli ping", cli("PING"), "PONG")
    checks.equal("cli set", cli("SET", "cli:k", "v"), "OK")
    checks.equal("cli get", cli("GET", "cli:k"), "v")
    checks.equal("cli missing", cli("GET", "cli:none"), "")
    checks.equal("cli incr", [cli("INCR", "cli:n"), cli("INCRBY", "cli:n", "41")], ["1", "42"])
    checks.equal("cli expire", cli("EXPIRE", "cli:k", "100"), "1")
    checks.that("cli ttl", 95 <= int(cli("TTL", "cli:k")) <= 100)
    checks.equal("cli wrong arguments", cli("GET").split(" ")[0], "ERR")
    commands = "".join(f"SET cli:pipe:{n} {n}\r\n" for n in range(1000))
    checks.that("cli pipe", "replies: 1000" in cli("--pipe", text=commands))
    checks.equal("cli scan", len(cli("--scan", "--pattern", "cli:pipe:*").splitlines()), 1000)
    checks.equal("cli database", [cli("-n", "2", "SET", "k", "two"), cli("-n", "2", "GET", "k"), cli("GET", "k")], ["OK", "two", ""])


def check_redis_benchmark(checks, port, requests):
    """Each test must give a rate; returns the lines."""
    lines = []
    for pipeline in ("1", "16"):
        command = ["redis-benchmark", "-p", str(port), "-t", "set,get,incr,mset", "-q", "-n", str(requests), "-P", pipeline, "-r", "10000"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        rates = [line.split("\r")[-1].strip() for line in done.stdout.splitlines() if "requests per second" in line]
        checks.equal(f"redis-benchmark -P {pipeline}", (done.returncode, len(rates)), (0, 4))
        lines += [f"-P {pipeline:>2}  {rate}" for rate in rates]
    return lines


def check_transaction(checks, client, key):
    """MULTI and EXEC, as redis-py sends them by default."""
    with client.pipeline(transaction=True) as pipe:
        pipe.incr(key).get(key)
        checks.equal(f"transaction on {key}", pipe.execute(), [2, b"2"])


def check_hashes(checks, client, key):
    """Hashes, expiry of their fields, and bits, as redis-py converts them for either protocol."""
    fields = {f"f{n}".encode(): str(n).encode() for n in range(600)}
    checks.equal(f"{key} hset", client.hset(key, mapping=fields), 600)
    checks.equal(f"{key} hgetall", client.hgetall(key), fields)
    checks.equal(f"{key} hmget", client.hmget(key, "f1", "none", "f2"), [b"1", None, b"2"])
    checks.equal(f"{key} hscan", dict(client.hscan_iter(key, count=50)), fields)
    checks.equal(f"{key} hkeys", set(client.hkeys(key)), set(fields))
    checks.equal(f"{key} hincrby", client.hincrby(key, "f1", 41), 42)
    checks.equal(f"{key} hincrbyfloat", client.hincrbyfloat(key, "f1", 0.5), 42.5)
    checks.equal(f"{key} hrandfield", len(client.hrandfield(key, 5, withvalues=True)) in (5, 10), True)
    checks.equal(f"{key} hdel", client.hdel(key, "f1", "none"), 1)
    checks.equal(f"{key} hlen", client.hlen(key), 599)
    if hasattr(client, "hpexpire"):
        checks.equal(f"{key} hpexpire", client.hpexpire(key, 50, "f2", "none"), [1, -2])
        time.sleep(0.1)
        checks.equal(f"{key} after expiry", (client.hget(key, "f2"), client.hlen(key)), (None, 598))
    with client.pipeline(transaction=False) as pipe:
        for n in range(100):
            pipe.hset(f"{key}:{n}", mapping={"a": n, "b": "x"})
        for n in range(100):
            pipe.hmget(f"{key}:{n}", "a", "b")
        expected = [2] * 100 + [[str(n).encode(), b"x"] for n in range(100)]
        checks.equal(f"{key} pipeline", pipe.execute(), expected)
    checks.equal(f"{key} setbit", client.setbit(f"{key}:bits", 7, 1), 0)
    checks.equal(f"{key} bitcount", client.bitcount(f"{key}:bits"), 1)
    checks.equal(f"{key} bitfield", client.bitfield(f"{key}:bits").incrby("u8", 0, 5).execute(), [6])


def check_redis_py(checks, port):
    """Types of replies, pipelines, transactions, scans, expiry."""
    import redis

    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol)
        name = f"py{protocol}"
        every_byte = bytes(range(256))
        checks.equal(f"{name} set", client.set(f"{name}:k", every_byte), True)
        checks.equal(f"{name} get", client.get(f"{name}:k"), every_byte)
        checks.equal(f"{name} missing", client.get(f"{name}:none"), None)
        checks.equal(f"{name} nx", client.set(f"{name}:k", "other", nx=True), None)
        checks.equal(f"{name} mset", client.mset({f"{name}:{n}": n for n in range(500)}), True)
        checks.equal(f"{name} mget", client.mget([f"{name}:{n}" for n in range(500)]), [str(n).encode() for n in range(500)])
        with client.pipeline(transaction=False) as pipe:
            for _ in range(100):
                pipe.incr(f"{name}:n")
            checks.equal(f"{name} pipeline", pipe.execute(), list(range(1, 101)))
        client.set(f"{name}:a", "1")
        checks.run(check_transaction, client, f"{name}:a")
        checks.equal(f"{name} scan", len(set(client.scan_iter(match=f"{name}:*", count=50))), 503)
        checks.equal(f"{name} delete", client.delete(f"{name}:a", f"{name}:none"), 1)
        client.set(f"{name}:short", "v", px=30)
        checks.equal(f"{name} before expiry", client.get(f"{name}:short"), b"v")
        time.sleep(0.1)
        checks.equal(f"{name} after expiry", client.get(f"{name}:short"), None)
        try:
            client.incr(f"{name}:k")
            checks.that(f"{name} incr of text is refused", False)
        except redis.ResponseError as error:
            checks.that(f"{name} incr of text is refused", "integer" in str(error))
        large = os.urandom(4 << 20)
        client.set(f"{name}:large", large)
        checks.equal(f"{name} large value", client.get(f"{name}:large") == large, True)
        checks.that(f"{name} info", client.info())
        checks.run(check_hashes, client, f"{name}:hash")
        client.close()


def next_message(pubsub):
    """The next message that is not a confirmation; None after 10 s."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
        if message:
            return message["type"], message["pattern"], message["channel"], message["data"]
    return None


def check_publish_and_subscribe(checks, port):
    """Channels, patterns, sharded channels and keyspace events, in both protocols."""
    import redis

    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol)
        name = f"pubsub{protocol}"
        with client.pubsub() as pubsub:
            pubsub.subscribe(name)
            pubsub.psubscribe(f"{name}.*")
            pubsub.get_message(timeout=5), pubsub.get_message(timeout=5)
            checks.equal(f"{name} numsub", client.pubsub_numsub(name), [(name.encode(), 1)])
            checks.equal(f"{name} publish", client.publish(name, "hello"), 1)
            checks.equal(f"{name} message", next_message(pubsub), ("message", None, name.encode(), b"hello"))
            client.publish(f"{name}.x", "hi")
            expected = ("pmessage", f"{name}.*".encode(), f"{name}.x".encode(), b"hi")
            checks.equal(f"{name} pattern", next_message(pubsub), expected)
            client.config_set("notify-keyspace-events", "Ex$")
            pubsub.psubscribe("__keyevent@0__:*")
            pubsub.get_message(timeout=5)  # Its confirmation: events are sent to it from now on.
            client.set(f"{name}:k", "v", px=20)
            events = [next_message(pubsub) for _ in range(2)]
            found = [event and (event[2], event[3]) for event in events]
            key = f"{name}:k".encode()
            checks.equal(f"{name} events", found, [(b"__keyevent@0__:set", key), (b"__keyevent@0__:expired", key)])
            client.config_set("notify-keyspace-events", "")
        client.close()


def check_client_side_caching(checks, port):
    """What redis-py's own cache shows after another connection has written."""
    import redis
    from redis.cache import CacheConfig

    cached = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
    other = redis.Redis(port=port)
    other.set("cached:k", "old")
    checks.equal("cache fill", [cached.get("cached:k"), cached.get("cached:k")], [b"old", b"old"])
    checks.equal("cache size", cached.get_cache().size, 1)
    other.set("cached:k", "new")
    deadline = time.monotonic() + 10
    while cached.get("cached:k") != b"new" and time.monotonic() < deadline:
        time.sleep(0.01)
    checks.equal("cache after a change", cached.get("cached:k"), b"new")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def make_certificate(directory):
    """A certificate for localhost that signs itself, and its key, in files that are replaced when there."""
    certificate, key = directory / "server.pem", directory / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def check_tls_and_users(checks, binary, directory):
    """redis-cli and redis-py over TLS, as a user that may do little; a certificate renewed by SIGHUP."""
    import redis

    certificate, key = make_certificate(directory)
    files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    with Server(binary, directory / "tls", "--tls-port", str(free_port()), *files) as server:
        command = ["redis-cli", "-h", "localhost", "-p", str(server.port), "--tls", "--cacert", str(certificate)]
        done = subprocess.run([*command, "SET", "user:k", "v"], capture_output=True, text=True, timeout=60)
        checks.equal("cli over TLS", done.stdout.strip(), "OK")

        def connect(**login):
            return redis.Redis(host="localhost", port=server.port, ssl=True, ssl_ca_certs=str(certificate), **login)

        admin = connect()
        admin.acl_setuser("reader", enabled=True, passwords=["+p"], commands=["+@read", "+ping"], keys=["user:*"])
        reader = connect(username="reader", password="p")
        checks.equal("py over TLS as a user", reader.get("user:k"), b"v")
        for what, act in [("command", lambda: reader.set("user:k", "w")), ("key", lambda: reader.get("other"))]:
            try:
                act()
                checks.that(f"py refused a {what}", False)
            except redis.exceptions.NoPermissionError:
                checks.that(f"py refused a {what}", True)
        # The library itself tells the server its name, which is refused as well.
        checks.that("py acl log", {"set", "other"} <= {entry["object"] for entry in admin.acl_log()})
        checks.equal("py acl getuser", admin.acl_getuser("reader")["keys"], ["~user:*"])
        make_certificate(directory)
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        checks.equal("py after a new certificate", connect().get("user:k"), b"v")
        checks.equal("exit code after SIGTERM with TLS", server.stop(), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the terrace binary; by default the newest one built here")
    parser.add_argument("--requests", type=int, default=20_000, help="requests of each redis-benchmark test")
    options = parser.parse_args()
    for tool in ("redis-cli", "redis-benchmark", "openssl"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not installed")
    ensure_redis_py()
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="terrace-check-") as directory:
        with Server(find_binary(options.binary), Path(directory) / "store") as server:
            checks.run(check_redis_cli, server.port)
            checks.run(check_redis_py, server.port)
            checks.run(check_publish_and_subscribe, server.port)
            checks.run(check_client_side_caching, server.port)
            rates = checks.run(check_redis_benchmark, server.port, options.requests) or []
            checks.equal("exit code after SIGTERM", server.stop(), 0)
        checks.run(check_tls_and_users, find_binary(options.binary), Path(directory))
    print("\n".join(rates))
    print(f"client-check: {checks.passed} checks passed, {len(checks.failed)} failed {checks.failed or ''}".rstrip())
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
