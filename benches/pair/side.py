"""One of the two builds: started anew for each step, since the other must find what it found."""

import dataclasses

import machine
from contender import Contender, Missing
from publishing import Publishing, loader, publish
from step import step, unanswered
from works import WORKS, Figure

PROCESS = Figure("memory of the process", "MB", ("memory", "server_pss_bytes"), scale=1e-6)
#: Short, so that a slow minute of the machine does not fall on one of the two alone.
SECONDS = 2


def fan_out():
    """The works of benches/run, as two builds are put through them."""
    for work in WORKS:
        if work.mode in ("saturate", "unicast"):
            yield dataclasses.replace(work, seconds=SECONDS)
        elif work.mode == "idle":
            yield dataclasses.replace(work, figures=(*work.figures, PROCESS))
        else:
            yield work


class Side:
    """BEFORE or AFTER: its build, and its server while it runs."""

    def __init__(self, name, build, driver):
        variants = Contender.of(machine.TOP / "benches" / "fanfare")
        self.contender = next(one for one in variants if one.variant == driver)
        self.contender.key = name
        self.contender.environment = {"BINARY": str(build.binary)}
        self.name, self.build = name, build
        self.libraries = None

    def give_library(self, library, scratch):
        """The library through which it is published to."""
        self.libraries = loader(library, scratch / f"{self.name}-library")

    def play(self, work, load, scratch, quick):
        """One step with a server that nobody used before: the answer."""
        if isinstance(work, Publishing) and work.embedded:
            return self.answer(work, load, quick)
        try:
            self.contender.start(machine.free_ports(4), load.server_core, scratch)
        except Missing as why:
            return unanswered(self.contender, work, str(why))
        try:
            return self.answer(work, load, quick)
        finally:
            self.contender.stop()

    def answer(self, work, load, quick):
        """One step."""
        if isinstance(work, Publishing):
            return publish(self.libraries, self.contender, work, load, quick)
        return step(load.generator, self.contender, work, load.core, quick)


@dataclasses.dataclass
class Load:
    """What both are loaded with, and on which cores."""

    server_core: str
    core: str
    generator: object = None
    publisher: object = None
