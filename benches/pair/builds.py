"""What is compared: a build of Fanfare, made from a commit or found as a binary."""

import os
import pathlib
import shutil
import subprocess

from machine import TOP
from step import say

KEPT = TOP / "target" / "pair"
SONAME = "libfanfare.so.0"


class NoBuild(Exception):
    """Why there is no such build, for whoever asked for it."""


class Build:
    """A server, the library that belongs to it, and where both came from."""

    def __init__(self, asked, library=None):
        """Looks whether there is such a commit or binary; builds nothing yet."""
        self.asked = asked
        self.commit = self.library = None
        if pathlib.Path(asked).is_file():
            self.binary = pathlib.Path(asked).resolve()
            self.library = found(library) if library else beside(self.binary)
            self.ask_version()
        else:
            self.commit = commit_of(asked)
            folder = KEPT / self.commit[:12]
            self.binary, self.library = folder / "fanfare", folder / SONAME
            if library:
                raise NoBuild(f"{asked} is a commit and has its own library; {library} is one more")

    def make(self):
        """Builds a commit, once: what came of it is kept below target/pair."""
        if self.commit and not self.binary.parent.exists():
            build(self.commit, self.binary.parent)
        self.ask_version()

    def ask_version(self):
        """What the binary says it is; anything but Fanfare is refused."""
        try:
            told = subprocess.run(
                [self.binary, "--version"], capture_output=True, text=True, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired) as why:
            raise NoBuild(f"{self.asked} cannot be run: {why}") from why
        self.version = (told.stdout or told.stderr).strip().partition("\n")[0]
        if told.returncode or not self.version.startswith("fanfare "):
            says = self.version or "nothing"
            raise NoBuild(f"{self.asked} is no Fanfare: asked for its --version, it says {says}")

    def __str__(self):
        names = [self.commit[:12]] if self.commit else []
        return f"{self.asked} ({', '.join([*names, self.version])})"

    def facts(self):
        """For the record."""
        return {"asked": self.asked, "commit": self.commit, "version": self.version}


def found(library):
    """The path of a library that was named."""
    if not pathlib.Path(library).is_file():
        raise NoBuild(f"there is no library {library}")
    return pathlib.Path(library).resolve()


def beside(binary):
    """The library where cargo or scripts/install would have put it; `None`: nowhere."""
    places = [binary.parent / "libfanfare_ffi.so", binary.parent / SONAME]
    places.append(binary.parent.parent / "lib" / SONAME)
    return next((place.resolve() for place in places if place.is_file()), None)


def git(*words):
    """What git prints of this repository, or why it does not."""
    told = subprocess.run(["git", "-C", TOP, *words], capture_output=True, text=True)
    if told.returncode:
        raise NoBuild(f"git {words[0]}: {told.stderr.strip()}")
    return told.stdout.strip()


def commit_of(asked):
    """The whole name of a commit that is here."""
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{asked}^{{commit}}")
    except (NoBuild, OSError) as why:
        raise NoBuild(f"{asked} is neither a file nor a commit of this repository") from why


def build(commit, folder):
    """Builds a commit in a worktree of its own, which is gone afterwards.

    All commits share one folder of cargo's, so that only the first compiles what they depend on.
    """
    source = KEPT / f"source-{commit[:12]}"
    if source.exists():
        git("worktree", "remove", "--force", source)  # a build that was killed left it
    say(f"building {commit[:12]}, which takes minutes: {git('log', '-1', '--format=%s', commit)}")
    git("worktree", "add", "--force", "--detach", source, commit)
    try:
        command = ["cargo", "build", "--quiet", "--locked", "--release"]
        made = subprocess.run(
            [*command, "-p", "fanfare", "-p", "fanfare-ffi", "--lib", "--bins"], cwd=source,
            env=os.environ | {"CARGO_TARGET_DIR": str(KEPT / "cargo")}, stdin=subprocess.DEVNULL,
        )
        if made.returncode:
            raise NoBuild(f"{commit[:12]} does not build: what cargo says is above")
        # In the worktree first: what is interrupted here must not be found as a build.
        whole = source / "pair"
        whole.mkdir()
        shutil.copy2(KEPT / "cargo" / "release" / "fanfare", whole / "fanfare")
        shutil.copy2(KEPT / "cargo" / "release" / "libfanfare_ffi.so", whole / SONAME)
        whole.rename(folder)
    finally:
        git("worktree", "remove", "--force", source)
