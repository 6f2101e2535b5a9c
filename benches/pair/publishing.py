"""Publishing as a work: benches/publish/publish.c against each build's library and server.

The program checks that every message stands; its CPU and that of the server's threads is the
kernel's own count, in nanoseconds.
"""

import os
import pathlib
import resource
import subprocess
from dataclasses import dataclass

from builds import SONAME, NoBuild
from machine import TOP
from step import told, unanswered
from works import Figure

PUBLISH_WITHIN = 120.0  # seconds
EMBEDDED = 'embedded:listen = "127.0.0.1:0"\napi = "none"\nsocket = "none"'
#: Threads of the server by the begin of their names, of which the kernel keeps 15 letters.
THREADS = {"sequencer": "fanfare-sequenc", "ingest": "fanfare-ingest"}


def cpu(whose):
    """A figure: the CPU that a message costs, somewhere."""
    return Figure(f"{whose} CPU", "ns/message", ("cpu_ns", whose), digits=0)


RATE = Figure("messages", "K/s", ("per_second",), scale=1e-3, digits=0, more_is_better=True)


@dataclass(frozen=True)
class Publishing:
    """One thread publishes 128-byte messages: a call each, or in batches of 1,000."""

    key: str
    title: str
    mode: str
    messages: int
    #: The node is in the publishing process, or it is a server with a Unix socket.
    embedded: bool

    @property
    def figures(self):
        """Where the node is embedded, its threads are the publisher's."""
        whose = ["publisher"] if self.embedded else ["sequencer", "ingest", "publisher"]
        return RATE, *map(cpu, whose)


WORKS = (
    Publishing("publish-embedded", "embedded, a call each", "single", 2_000_000, True),
    Publishing("publish-embedded-batch", "embedded, batches", "batch", 2_000_000, True),
    Publishing("publish-socket", "over the socket, a call each", "single", 1_000_000, False),
    Publishing("publish-socket-batch", "over the socket, batches", "batch", 1_000_000, False),
)


def program(library, folder):
    """Compiles the publisher, once for both builds: the ABI lets either library run it."""
    publisher = folder / "publish"
    command = ["cc", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", "ffi/include"]
    command += ["benches/publish/publish.c", str(library), "-o", str(publisher)]
    try:
        made = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    except OSError as why:
        raise NoBuild(f"no C compiler for benches/publish/publish.c: {why}") from why
    if made.returncode:
        raise NoBuild(f"benches/publish/publish.c does not build: {made.stderr[-1000:]}")
    return publisher


def thread_cpu(pid):
    """Nanoseconds that each thread of `THREADS` ran so far; without one that is not there."""
    ran = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        statistics = task / "schedstat"
        for whose, begin in THREADS.items():
            if name.startswith(begin) and statistics.exists():
                ran[whose] = ran.get(whose, 0) + int(statistics.read_text().split()[0])
    return ran


def children_cpu():
    """Nanoseconds of all processes that were started here and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1e9


def loader(library, folder):
    """A folder in which the dynamic linker finds this library and no other."""
    folder.mkdir()
    (folder / SONAME).symlink_to(library)
    return folder


def publish(libraries, contender, work, load, quick):
    """Publishes once and answers as the load generator does.

    Over the socket the server of `contender` is up and has its core. An embedded publisher is the
    node too, and has that core beside its own.
    """
    count = work.messages // (100 if quick else 1)
    url = EMBEDDED if work.embedded else f"unix:{contender.pidfile}.sock"
    cores = f"{load.server_core},{load.core}" if work.embedded else load.core
    command = ["taskset", "-c", cores, load.publisher, url, work.mode, str(count)]
    before = {} if work.embedded else thread_cpu(contender.pid)
    began = children_cpu()
    try:
        ran = subprocess.run(
            command, env=os.environ | {"LD_LIBRARY_PATH": str(libraries)}, capture_output=True,
            text=True, timeout=PUBLISH_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return unanswered(contender, work, f"not ended after {PUBLISH_WITHIN:.0f} s")
    if ran.returncode:
        return unanswered(contender, work, f"exit {ran.returncode}: {ran.stderr.strip()[-300:]}")
    said = dict(pair.split("=") for pair in ran.stdout.split())
    cpu_ns = {"publisher": (children_cpu() - began) / count}
    if not work.embedded:
        after = thread_cpu(contender.pid)
        # A thread of a server that was just started may have got its name only now.
        ran_ns = {whose: after[whose] - before.get(whose, 0) for whose in after}
        cpu_ns |= {whose: ran_ns[whose] / count for whose in after}
    rate = float(said["messages"]) / float(said["seconds"])
    return told(contender, work, {"sound": True, "per_second": rate, "cpu_ns": cpu_ns})
