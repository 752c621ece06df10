#!/usr/bin/env python3
"""Round trips of clients and of a feature store through `terrace serve`, each installed by its own package manager.

    scripts/client-round-trips.py [--binary PATH] [node] [rust] [feast]

`node` is node-redis (needs node and npm), `rust` the crate `redis` (needs cargo), `feast` Feast with its Redis online
store (a virtual environment of about a gigabyte). Without names all of them run. Each gets a server of its own on a
free port and a temporary directory. What is installed stays below `target`. Prints a line each; exit code 1 if one
fails. redis-cli, redis-benchmark and redis-py are the business of `client-check.py`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

sys.dont_write_bytecode = True  # No cache beside the scripts.

from serving import ROOT, Server, find_binary

CLIENTS = Path(__file__).resolve().parent / "clients"
INSTALLED = ROOT / "target" / "client-round-trips"
TIMEOUT_S = 900


def run(command, **options):
    """Runs a command; returns the last line of its output, or raises with all of it."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=TIMEOUT_S, **options
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def node(port, _):
    """node-redis."""
    home = INSTALLED / "node"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "node_modules" / "redis").exists():
        run(["npm", "install", "--prefix", home, "--no-audit", "--no-fund", "redis@6"])
    return run(["node", CLIENTS / "node.mjs", port], cwd=home)


def rust(port, _):
    """The crate `redis`, as an example of this workspace."""
    cargo = ["cargo", "run", "--quiet", "-p", "terrace-server", "--example", "redis_crate", "--"]
    return run([*cargo, f"redis://127.0.0.1:{port}"], cwd=ROOT)


def feast(port, directory):
    """Feast."""
    home = INSTALLED / "feast"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    if subprocess.run([python, "-c", "import feast, redis"], capture_output=True).returncode != 0:
        run([python, "-m", "pip", "install", "--quiet", "feast[redis]"])
    quiet = {**os.environ, "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore"}
    return run([python, CLIENTS / "feast_store.py", port, directory], cwd=directory, env=quiet)


ALL = {"node": node, "rust": rust, "feast": feast}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="the program; default the newest one built here")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in ALL]
    if unknown:
        parser.error(f"no client {unknown[0]!r}; there are {', '.join(ALL)}")
    binary, failed = find_binary(options.binary), False
    for name in options.names or ALL:
        directory = Path(tempfile.mkdtemp(prefix=f"terrace-{name}-"))
        try:
            with Server(binary, directory / "data") as server:
                said = ALL[name](server.port, directory)
                code = server.stop()
            if code != 0:
                raise RuntimeError(f"the server ended with {code}")
            print(f"{name}: ok, {said}")
        except Exception as error:  # Whatever goes wrong is told, and the others run.
            failed = True
            print(f"{name}: FAILED\n{error}", file=sys.stderr)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
