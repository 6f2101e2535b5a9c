"""What is read of a server's threads while it is published to."""

import os
import pathlib
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from publishing import thread_cpu


class Threads(unittest.TestCase):
    """This process as the server."""

    def test_a_thread_is_found_by_its_name_and_has_its_own_cpu(self):
        named, done = threading.Event(), threading.Event()

        def run():
            own = pathlib.Path(f"/proc/self/task/{threading.get_native_id()}/comm")
            own.write_text("fanfare-sequencer"[:15])
            named.set()
            done.wait()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            named.wait()
            ran = thread_cpu(os.getpid())
        finally:
            done.set()
            thread.join()
        if not pathlib.Path("/proc/self/schedstat").exists():
            self.skipTest("this kernel keeps no CPU of threads")
        self.assertEqual(list(ran), ["sequencer"])
        self.assertGreater(ran["sequencer"], 0)
