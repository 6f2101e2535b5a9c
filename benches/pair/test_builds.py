"""How builds are found and made, and what is said to who asks for what there is not."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

import builds
from builds import Build, NoBuild

CARGO = """#!/bin/sh
[ -f Cargo.toml ] || exit 1
mkdir -p "$CARGO_TARGET_DIR/release"
printf '#!/bin/sh\\necho fanfare 0.0.0\\n' > "$CARGO_TARGET_DIR/release/fanfare"
chmod +x "$CARGO_TARGET_DIR/release/fanfare"
: > "$CARGO_TARGET_DIR/release/libfanfare_ffi.so"
"""


class Refusals(unittest.TestCase):
    """What it says before it has built or measured anything."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.binary = pathlib.Path(folder.name) / "fanfare"
        self.binary.write_text("#!/bin/sh\necho fanfare 0.0.0\n")
        self.binary.chmod(0o755)

    def refused(self, code, *words):
        """What it says with this exit code."""
        command = [HERE / "run", *map(str, words)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(told.returncode, code, told.stderr)
        self.assertNotIn("Traceback", told.stderr)
        return told.stderr

    def test_wrong_arguments(self):
        one = self.binary
        self.assertIn("BEFORE and AFTER", self.refused(64, one))
        self.assertIn("no work windoww: --list", self.refused(64, one, one, "--works", "windoww"))
        self.assertIn("--rounds 0: at least 1", self.refused(64, one, one, "--rounds", "0"))
        self.assertIn("--cores 0,0: two of", self.refused(64, one, one, "--cores", "0,0"))

    def test_no_such_build(self):
        one = self.binary
        self.assertIn("v9 is neither a file nor a commit", self.refused(69, "v9", one))
        self.assertIn("/bin/true is no Fanfare", self.refused(69, one, "/bin/true"))
        there = ("--after-library", "/no/lib.so")
        self.assertIn("there is no library /no/lib.so", self.refused(69, one, one, *there))

    def test_works_that_publish_need_a_library(self):
        for work in ("publish-embedded", "publish-socket"):
            said = self.refused(69, self.binary, self.binary, "--works", work)
            self.assertIn(f"{work} needs libfanfare", said)
            self.assertIn("--before-library", said)

    def test_a_library_is_found_where_cargo_and_the_installer_put_it(self):
        self.assertIsNone(Build(self.binary).library)
        library = self.binary.parent / "libfanfare_ffi.so"
        library.touch()
        self.assertEqual(Build(self.binary).library, library.resolve())

    def test_what_cannot_be_run_is_told(self):
        self.binary.chmod(0o644)
        with self.assertRaisesRegex(NoBuild, "cannot be run"):
            Build(self.binary)


class Commits(unittest.TestCase):
    """A commit is built once, in a worktree that is gone afterwards; cargo's part is played."""

    def setUp(self):
        try:
            self.head = builds.commit_of("HEAD")
        except NoBuild as why:
            self.skipTest(str(why))
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.kept = pathlib.Path(folder.name) / "kept"
        self.cargo = pathlib.Path(folder.name) / "cargo"
        path = f"{folder.name}:{os.environ['PATH']}"
        for patch in (
            unittest.mock.patch.object(builds, "KEPT", self.kept),
            unittest.mock.patch.dict(os.environ, {"PATH": path}),
        ):
            patch.start()
            self.addCleanup(patch.stop)

    def with_cargo(self, script):
        """Lets this be what cargo does."""
        self.cargo.write_text(script)
        self.cargo.chmod(0o755)

    def no_worktree_is_left(self):
        self.assertNotIn(str(self.kept), builds.git("worktree", "list"))
        self.assertEqual(list(self.kept.glob("source-*")), [])

    def test_it_is_built_once(self):
        self.with_cargo(CARGO)
        build = Build("HEAD")
        build.make()
        self.assertEqual((build.commit, build.version), (self.head, "fanfare 0.0.0"))
        self.assertTrue(build.library.is_file())
        self.no_worktree_is_left()
        self.with_cargo("#!/bin/sh\nexit 1\n")
        Build(self.head).make()

    def test_what_does_not_build_is_told_and_leaves_nothing(self):
        self.with_cargo("#!/bin/sh\nexit 1\n")
        with self.assertRaisesRegex(NoBuild, "does not build"):
            Build("HEAD").make()
        self.no_worktree_is_left()

    def test_a_commit_has_its_own_library(self):
        with self.assertRaisesRegex(NoBuild, "is a commit and has its own library"):
            Build("HEAD", "lib.so")
