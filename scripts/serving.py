"""A `terrace serve` process for the scripts beside this file: started on a free port, stopped or killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def find_binary(given=None):
    """The binary: the one given, or the newest one built here."""
    if given:
        return given
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/terrace", target / "debug/terrace") if path.exists()]
    if not built:
        sys.exit("no terrace binary: run `cargo build --release` or pass --binary")
    return str(max(built, key=lambda path: path.stat().st_mtime))


class Server:
    """A running server."""

    def __init__(self, binary, directory, *flags):
        command = [binary, "serve", "--port", "0", "--dir", str(directory), *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stdout:
            if line.startswith("Ready on "):
                self.port = int(line.rsplit(":", 1)[1])
                break
        if self.port is None:
            sys.exit(f"the server ended with {self.process.wait()} before it was ready")

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
