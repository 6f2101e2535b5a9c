"""The machine: what a record says about it, and which of its ports are free."""

import datetime
import os
import pathlib
import platform
import random
import resource
import socket
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]


def cpu():
    """The processor's name, as the kernel tells it."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(": ", 1)[1]
    return platform.machine()


def said(*command):
    """The first line that a command prints, or an empty one where it fails."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, cwd=TOP, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    text = (told.stdout or told.stderr) if told.returncode == 0 else ""
    return text.strip().partition("\n")[0]


def sysctl(name):
    """A kernel setting, or an empty string."""
    path = pathlib.Path("/proc/sys", *name.split("."))
    return path.read_text().strip() if path.exists() else ""


def facts():
    """Kernel, processor, load and commit at this moment."""
    return {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "congestion_control": sysctl("net.ipv4.tcp_congestion_control"),
        "netdev_max_backlog": sysctl("net.core.netdev_max_backlog"),
        "commit": said("git", "describe", "--always", "--dirty"),
    }


def record_file():
    """Where today's lines of this machine go."""
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return TOP / "benches" / "record" / platform.node() / f"{today}.jsonl"


def open_many_files():
    """Lets this process and what it starts have as many descriptors as it may ask for."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_ports(count):
    """A port with `count - 1` free ones behind it, away from those that the kernel gives."""
    while True:
        first = random.randrange(20_000, 30_000, 8)
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
