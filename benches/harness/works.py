"""The works: what every contender is put through, and which figures count.

A figure has a name, a unit, and a path into the load generator's answer. Lower is better unless said.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number of a step."""

    name: str
    unit: str
    path: tuple
    scale: float = 1.0
    digits: int = 2
    more_is_better: bool = False
    #: Whether the limit does such a thing too, so that there is a ratio.
    has_limit: bool = True

    @property
    def label(self):
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def of(self, told):
        """Taken out of the generator's answer; `None` where it is not in it."""
        for key in self.path:
            if not isinstance(told, dict) or key not in told:
                return None
            told = told[key]
        return told * self.scale if isinstance(told, (int, float)) else None


CPU = Figure("CPU per delivery", "us", ("work", "server_us_per_delivery"), digits=3)
RATE = Figure(
    "deliveries", "M/s", ("work", "deliveries_per_second"), scale=1e-6, more_is_better=True
)
COALESCED = Figure(
    "messages per receive", "", ("work", "messages_per_receive"), digits=1, more_is_better=True
)
BURST = Figure("until the last has all", "ms", ("burst_ms", "median"), digits=1)
P50 = Figure("p50", "ms", ("latency_us", "main", "each", "p50"), scale=1e-3, digits=1)
P99 = Figure("p99", "ms", ("latency_us", "main", "each", "p99"), scale=1e-3, digits=1)
ALONE = Figure("p99 alone", "ms", ("latency_us", "lone", "alone", "p99"), scale=1e-3)
BESIDE = Figure("p99 beside", "ms", ("latency_us", "lone", "beside a broadcast", "p99"), scale=1e-3)
BESIDE_50 = Figure(
    "p50 beside", "ms", ("latency_us", "lone", "beside a broadcast", "p50"), scale=1e-3
)
USER = Figure(
    "user memory per client", "B", ("memory", "server_pss_bytes_per_client"), digits=0,
    has_limit=False,
)
KERNEL = Figure(
    "kernel slab per client, both ends", "B",
    ("memory", "kernel_slab_bytes_per_client_both_ends"), digits=0,
)
CONNECTS = Figure(
    "connect and upgrade", "K/s", ("connect", "per_second"), scale=1e-3, digits=1,
    more_is_better=True,
)
OWN = Figure("the generator's busiest thread", "", ("work", "own_busiest_thread_share"))


@dataclass(frozen=True)
class Work:
    """One load."""

    key: str
    title: str
    #: Head of its column in the overview; without one it has none.
    short: str
    mode: str
    clients: int
    figures: tuple
    flags: tuple = ()
    seconds: float | None = None
    transport: str = "ws"
    #: Variants of the limit that this is held against, the first one counts.
    limit: tuple = ("coalesce",)
    #: The server is started anew for each step: memory that it kept would not show as growth.
    fresh: bool = False
    #: Only contenders with Fanfare's channels can be asked this.
    own_paths: bool = False
    #: Each client follows a channel of its own.
    own_channels: bool = False
    #: With --quick rivals play only such: the others would show nothing new of them.
    in_brief: bool = False
    #: Threads with these names keep the scheduler's usual policy, all others of the server and of
    #: the generator come before them (SCHED_FIFO): what a core for each would be.
    crowd: tuple = ()

    def command(self, quick):
        """The load generator's mode and flags."""
        clients = min(self.clients, 200) if quick else self.clients
        flags = [self.mode, f"--{self.transport}", str(clients), *self.flags]
        seconds = self.seconds and (min(self.seconds, 0.5) if quick else self.seconds)
        return flags + (["--seconds", str(seconds)] if seconds else [])


def window(size, clients, transport="ws"):
    """Saturation with a window."""
    titles = {"ws": "WebSocket", "sse": "SSE"}
    heads = {(16, 15_000, "ws"): "window 16 to 15,000, us", (1, 5_000, "ws"): "window 1 to 5,000, us"}
    heads[16, 5_000, "sse"] = "SSE, window 16 to 5,000, us"
    return Work(
        key=f"saturate-{size}-{clients}" + ("" if transport == "ws" else f"-{transport}"),
        title=f"saturate, window {size}, {clients:,} {titles[transport]} clients",
        short=heads.get((size, clients, transport), ""),
        mode="saturate", clients=clients, transport=transport,
        flags=("--window", str(size)), seconds=4, figures=(CPU, RATE, COALESCED, OWN),
        limit=("coalesce",) if size > 1 else ("ring", "send"),
        in_brief=(size, clients) == (16, 5_000),
    )


def paced(rate):
    """A fixed rate to 15,000, for 40 messages at least: with fewer one of them makes the p99."""
    return Work(
        key=f"paced-{rate}", title=f"paced, {rate} messages/s to 15,000 clients",
        short=f"{rate}/s to 15,000, p99 ms", mode="paced",
        clients=15_000, flags=("--rate", str(rate)), seconds=max(5, 40 / rate),
        figures=(P99, P50, CPU, OWN),
    )


def unicast(size):
    """Each client has a channel of its own: nothing is shared between two deliveries."""
    return Work(
        key=f"unicast-{size}", title=f"unicast, window {size}, 5,000 clients with a channel each",
        short=f"a channel each, window {size}, us" if size == 64 else "",
        mode="unicast", clients=5_000, flags=("--window", str(size)), seconds=4,
        figures=(CPU, RATE, OWN), limit=("own",), own_channels=True, in_brief=size == 64,
    )


WORKS = (
    window(16, 15_000),
    window(16, 5_000),
    window(1, 5_000),
    Work(
        key="burst", title="burst, 100 messages to 5,000 clients",
        short="burst of 100 to 5,000, ms", mode="burst", clients=5_000,
        flags=("--messages", "100", "--rounds", "5"), figures=(BURST, CPU, OWN), in_brief=True,
    ),
    paced(4),
    paced(10),
    window(16, 5_000, "sse"),
    unicast(64),
    unicast(1),
    Work(
        key="fairness", title="a one-client channel beside a broadcast to 15,000", short="",
        mode="fairness", clients=15_000, flags=("--window", "16", "--rate", "200"), seconds=12,
        figures=(BESIDE, BESIDE_50, ALONE), own_paths=True,
    ),
    Work(
        key="fairness-apart",
        title="the same, no thread waiting for the shard's or the crowd's core", short="",
        mode="fairness", clients=15_000, flags=("--window", "16", "--rate", "200"), seconds=12,
        figures=(BESIDE, BESIDE_50, ALONE), own_paths=True,
        crowd=("fanfare-shard", "clients-0"),
    ),
    Work(
        key="idle", title="15,000 idle clients", short="user memory of an idle client, B",
        mode="idle", clients=15_000, seconds=3,
        figures=(USER, KERNEL), limit=("accept",), fresh=True,
    ),
    Work(
        key="connect", title="15,000 clients connect and upgrade", short="connects, K/s",
        mode="connect", clients=15_000,
        figures=(CONNECTS,), limit=("accept",), fresh=True,
    ),
)
