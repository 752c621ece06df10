#!/usr/bin/env python3
"""The Debian package index as JSON lines: {"key": package name, "value": stanza}.

Reads `apt-cache dumpavail` (or a file, or `-` for standard input) and writes to standard output, one stanza at
a time, so memory stays small. A package that appears in several versions appears as often; an import keeps the
last one. Example:

    scripts/debian-packages.py | terrace import --dir data -
"""

import json
import subprocess
import sys


def stanzas(lines):
    """The blocks between blank lines."""
    block = []
    for line in lines:
        if line.strip():
            block.append(line)
        elif block:
            yield "".join(block)
            block = []
    if block:
        yield "".join(block)


def package_name(stanza):
    """The value of the field `Package`."""
    for line in stanza.splitlines():
        field, _, value = line.partition(":")
        if field.lower() == "package":
            return value.strip()
    return None


def convert(lines, out):
    """Writes the JSON lines; returns how many stanzas became one and how many had no name."""
    written = nameless = 0
    for stanza in stanzas(lines):
        name = package_name(stanza)
        if name:
            out.write(json.dumps({"key": name, "value": stanza}, ensure_ascii=False) + "\n")
            written += 1
        else:
            nameless += 1
    return written, nameless


def main():
    if len(sys.argv) > 2 or "-h" in sys.argv or "--help" in sys.argv:
        sys.exit(__doc__)
    sys.stdout.reconfigure(encoding="utf-8")
    source = sys.argv[1] if len(sys.argv) == 2 else None
    if source is None:
        command = ["apt-cache", "dumpavail"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace")
        written, nameless = convert(process.stdout, sys.stdout)
        if process.wait() != 0:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    elif source == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        written, nameless = convert(sys.stdin, sys.stdout)
    else:
        with open(source, encoding="utf-8", errors="replace") as lines:
            written, nameless = convert(lines, sys.stdout)
    sys.stdout.flush()
    note = f", {nameless} stanzas without a name left out" if nameless else ""
    print(f"{written} stanzas{note}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        # The reader has seen enough; without this, closing standard output would complain once more.
        sys.stdout = None
