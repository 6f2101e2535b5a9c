"""A server that is measured: built, started on a core of its own, watched, ended.

Each is a folder with `build`, `run VARIANT PORT PIDFILE` and `contender.json`; benches/README.md says
what they promise.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from machine import TOP, said

STARTS_WITHIN = 30.0  # seconds
ENDS_WITHIN = 10.0


class Missing(Exception):
    """Something that the contender needs is not to be had here."""


def folders():
    """Every contender's folder, Fanfare and the limit first."""
    benches = TOP / "benches"
    rivals = sorted(file.parent for file in (benches / "rivals").glob("*/contender.json"))
    first = [benches / "fanfare", benches / "limit"]
    return [one for one in first if (one / "contender.json").exists()] + rivals


class Contender:
    """One variant of one folder, and its process while it runs."""

    def __init__(self, folder, variant, facts):
        told = facts["variants"][variant]
        self.folder, self.variant = folder, variant
        self.key = f"{folder.name}:{variant}"
        self.name, self.title = facts["name"], told["title"]
        self.notes = told.get("notes", "")
        self.paths = {kind: told[kind] for kind in ("ws", "sse") if kind in told}
        self.publish = told.get("publish")
        self.publish_port = told.get("publish_port", 0)
        self.subscribe = told.get("subscribe")
        self.has_socket = told.get("socket", False)
        # The same where each client has a channel of its own, whose name replaces {channel}.
        self.own = told.get("own", {} if self.has_socket else None)
        self.only = told.get("works")
        self.version_command = facts.get("version", "")
        self.environment = {}  # what `run` finds in its environment, beside all that is there
        self.process = None
        self.port = self.pid = None

    @staticmethod
    def of(folder):
        """All variants of a folder."""
        facts = json.loads((folder / "contender.json").read_text())
        return [Contender(folder, variant, facts) for variant in facts["variants"]]

    def build(self, quick):
        """Builds it, or raises `Missing` with its reason."""
        command = [str(self.folder / "build")] + (["--quick"] if quick else [])
        told = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
        if told.returncode:
            raise Missing((told.stderr or told.stdout).strip()[-2000:] or "build failed")

    def version(self):
        """What it says of itself."""
        return said("bash", "-c", self.version_command) if self.version_command else ""

    def start(self, port, core, scratch):
        """Starts it and returns when it takes connections."""
        self.port = port
        self.pidfile = pathlib.Path(scratch) / self.key.replace(":", "-")
        self.pidfile.unlink(missing_ok=True)  # of the last time
        self.log = self.pidfile.with_suffix(".log")
        command = ["taskset", "-c", str(core), str(self.folder / "run"), self.variant]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, str(port), str(self.pidfile)],
                cwd=TOP, env=os.environ | self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )
        until = time.monotonic() + STARTS_WITHIN
        while not (self.answers() and self.pidfile.exists() and self.pidfile.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Missing(f"did not start: {self.log.read_text()[-500:]}")
            time.sleep(0.05)
        self.pid = int(self.pidfile.read_text())

    def answers(self):
        """Whether its ports take connections."""
        for port in {self.port, self.port + self.publish_port}:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                return False
        return True

    def stop(self):
        """Ends it, and what it started, by the session that it was given."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass
            try:
                self.process.wait(ENDS_WITHIN)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # children that outlived it
        except ProcessLookupError:
            pass
        self.process = None

    def plays(self, work):
        """Whether this variant is shown in a work: one that is tuned for some says for which."""
        return self.only is None or any(work.key.startswith(one) for one in self.only)

    def cpu_ticks(self):
        """CPU that its process took so far, in clock ticks."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    def settle(self, seconds=10.0):
        """Waits until it has nothing left to do: the clients of the last step are still closing."""
        until = time.monotonic() + seconds
        before = self.cpu_ticks()
        while time.monotonic() < until:
            time.sleep(0.2)
            now = self.cpu_ticks()
            if now - before <= 1:
                return
            before = now

    def load(self, transport, own=False):
        """The load generator's flags that lead to it; `own`: each client has its own channel."""
        ways = self.own if own else self.paths | {"publish": self.publish, "subscribe": self.subscribe}
        # Without a path it is Fanfare, by its own.
        flags = ["--url", f"http://127.0.0.1:{self.port}{ways.get(transport, '')}"]
        if self.has_socket:
            flags += ["--socket", f"{self.pidfile}.sock"]
        else:
            port = self.port + self.publish_port
            flags += ["--publish-url", f"http://127.0.0.1:{port}{ways['publish']}"]
        if ways.get("subscribe") and transport == "ws":
            flags += ["--subscribe-frame", ways["subscribe"]]
        return [*flags, "--server-pid", str(self.pid)]
