#!/usr/bin/env python3
"""Plants bugs into the engine, one at a time, and sees whether the harness finds them.

The bugs are in crates/terrace-sim/mutations/planted.toml. The sources are copied to a scratch directory, so nothing
here is changed; builds share target/mutations. First everything runs without a bug and must find nothing. Then
each bug is planted, the `trust` binary is built, and the parts that should catch the bug run until one reports a
violation. Prints a table; exit code 1 if a bug got away or no longer fits the sources.

    scripts/mutations.py [--only SUBSTRING] [--jobs N] [--skip-sound]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLANTED = ROOT / "crates/terrace-sim/mutations/planted.toml"
TARGET = ROOT / "target/mutations"


def copy_sources(to):
    """Everything that git knows or would know."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    for name in listed.stdout.splitlines():
        source = ROOT / name
        if source.is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to / name)


def build(sources):
    """Builds the harness; what the compiler says if it fails."""
    command = ["cargo", "build", "--quiet", "--package", "terrace-sim", "--bin", "trust"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET), "RUSTFLAGS": "-Awarnings"}
    done = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr


def run(part, jobs):
    """Runs a part; whether it found something, and its summary."""
    words = part.split()
    if "--minutes" not in words:
        words += ["--minutes", "5"]
    command = [TARGET / "debug/trust", *words, "--jobs", str(jobs)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return True, "hangs"
    if done.returncode not in (0, 1):
        return True, f"ends with {done.returncode}"
    first = done.stderr.strip().splitlines()
    return done.returncode == 1, first[0][:160] if first else done.stdout.strip()


def plant(bug, sources):
    """Plants a bug; the file and what it held before, or None if the bug does not fit."""
    path = sources / "crates/terrace/src" / bug["file"]
    text = path.read_text()
    if text.count(bug["before"]) != 1:
        return None
    path.write_text(text.replace(bug["before"], bug["after"]))
    return path, text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only bugs whose name has this in it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--skip-sound", action="store_true", help="do not run everything without a bug first")
    arguments = parser.parse_args()
    bugs = [bug for bug in tomllib.loads(PLANTED.read_text())["bug"] if arguments.only in bug["name"]]
    failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        sources = Path(scratch)
        copy_sources(sources)
        if not arguments.skip_sound:
            complaint = build(sources)
            if complaint:
                sys.exit(complaint)
            for part in sorted({part for bug in bugs for part in bug["caught_by"]}):
                found, summary = run(part, arguments.jobs)
                print(f"without a bug: {part}: {'FINDS SOMETHING: ' if found else ''}{summary}", flush=True)
                failures += found
        caught = 0
        for bug in bugs:
            start = time.monotonic()
            planted = plant(bug, sources)
            verdict = "does not fit the sources"
            if planted:
                verdict = hunt(bug, sources, arguments.jobs)
                planted[0].write_text(planted[1])
            caught += verdict.startswith("caught")
            print(f"{bug['name']} | {verdict} | {time.monotonic() - start:.0f} s", flush=True)
    print(f"mutations caught={caught} planted={len(bugs)}")
    sys.exit(failures > 0 or caught < len(bugs))


def hunt(bug, sources, jobs):
    complaint = build(sources)
    if complaint:
        return f"does not compile: {complaint.strip().splitlines()[0]}"
    for part in bug["caught_by"]:
        found, detail = run(part, jobs)
        if found:
            return f"caught by {part.split()[0]}: {detail}"
    return "GOT AWAY"


main()
