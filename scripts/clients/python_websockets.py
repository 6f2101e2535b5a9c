"""The PyPI package `websockets`, its asyncio and its threaded client, as they come.

Run by `scripts/clients/run`, or alone with a Python that has requirements.txt installed:

    FANFARE_DRIVER=epoll target/tools/venv/bin/python scripts/clients/python_websockets.py -v

FANFARE_BIN names another binary than target/release/fanfare. Nothing here waits without a bound.
"""

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect as connect_asyncio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_sync

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FANFARE_BIN", str(TOP / "target/release/fanfare"))
DRIVER = os.environ.get("FANFARE_DRIVER", "auto")
PATIENCE_S = 60
CLIENT_MESSAGE_BYTES_MAX = 64 * 1024


class Node:
    """A node on free ports, ended by its own process, held to its exit code."""

    def __init__(self, toml=""):
        self.stopping = False
        self.folder = tempfile.TemporaryDirectory(prefix="fanfare-clients-")
        config = pathlib.Path(self.folder.name, "fanfare.toml")
        config.write_text(toml)
        config.chmod(0o600)
        self.log = open(pathlib.Path(self.folder.name, "log"), "w")
        self.process = subprocess.Popen(
            [BINARY, "--config", config, "--driver", DRIVER, "--shards", "2", "--socket", "none",
             "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={k: v for k, v in os.environ.items() if not k.startswith("FANFARE_")})
        end = time.monotonic() + PATIENCE_S
        while not (ready := self.ready()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"the node does not take clients: {self.said()}")
            time.sleep(0.02)
        self.http, self.ws = f"http://{ready['listen']}", f"ws://{ready['listen']}"
        self.api = f"http://{ready['api']}"

    def ready(self):
        """What it says when it is ready: where it listens."""
        for line in self.said().splitlines(keepends=True):
            if line.endswith("\n") and json.loads(line)["fields"].get("message") == "ready":
                return json.loads(line)["fields"]
        return None

    def said(self):
        return pathlib.Path(self.log.name).read_text()

    def begin_to_stop(self):
        """Once: a second signal would end it at once."""
        if not self.stopping and self.process.poll() is None:
            self.stopping = True
            self.process.send_signal(signal.SIGTERM)

    def stop(self):
        try:
            self.begin_to_stop()
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = f"none within {PATIENCE_S} s"
        said = self.said()
        self.log.close()
        self.folder.cleanup()
        if code != 0:
            raise AssertionError(f"the node's exit code is {code}; it said:\n{said}")

    def publish(self, channel, body, type="text/plain"):
        request = urllib.request.Request(
            f"{self.api}/v1/channels/{urllib.parse.quote(channel, safe='')}",
            body.encode() if isinstance(body, str) else body, {"Content-Type": type})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def publish_all(self, messages):
        request = urllib.request.Request(
            f"{self.api}/v1/publish", json.dumps({"messages": messages}).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["results"]

    def url(self, query):
        return f"{self.ws}/ws?{query}"


class Asyncio(unittest.IsolatedAsyncioTestCase):
    """The asyncio client."""

    def node(self, toml=""):
        node = Node(toml)
        self.addCleanup(node.stop)
        return node

    async def follow(self, node, query, **options):
        socket = await connect_asyncio(node.url(query), proxy=None, open_timeout=PATIENCE_S,
                                       close_timeout=PATIENCE_S, **options)
        self.addAsyncCleanup(socket.close)
        return socket

    async def next(self, socket):
        return await asyncio.wait_for(socket.recv(), PATIENCE_S)

    async def publish(self, node, *arguments):
        return await asyncio.to_thread(node.publish, *arguments)

    async def close_of(self, socket):
        with self.assertRaises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
        return closed.exception.rcvd.code

    async def test_text_binary_and_long_messages(self):
        node = self.node()
        socket = await self.follow(node, "channels=a")
        long = "ü" * 200_000
        await self.publish(node, "a", "Grüße 🎺")
        await self.publish(node, "a", bytes(range(256)), "application/octet-stream")
        await self.publish(node, "a", long)
        self.assertEqual(await self.next(socket), "Grüße 🎺")
        self.assertEqual(await self.next(socket), bytes(range(256)))
        self.assertEqual(await self.next(socket), long)

    async def test_resume_over_three_channels(self):
        node = self.node()
        socket = await self.follow(node, "channels=x,y,z")
        self.assertEqual(json.loads(await self.next(socket))["event"], "fanfare.open")
        sent = [{"channel": "xyz"[data % 3], "data": data} for data in range(400)]
        results = await asyncio.to_thread(node.publish_all, sent)
        for data in range(100):
            message = json.loads(await self.next(socket))
            self.assertEqual((message["data"], message["id"]), (data, results[data]["id"]))
        await socket.close()
        again = await self.follow(node, f"channels=x,y,z&since={message['id']}")
        self.assertEqual(json.loads(await self.next(again))["event"], "fanfare.open")
        for data in range(100, 400):
            self.assertEqual(json.loads(await self.next(again))["data"], data)

    async def test_deflate_is_offered_and_declined(self):
        node = self.node()
        socket = await self.follow(node, "channels=a", compression="deflate")
        self.assertIn("permessage-deflate", socket.request.headers["Sec-WebSocket-Extensions"])
        self.assertNotIn("Sec-WebSocket-Extensions", socket.response.headers)
        self.assertEqual(socket.protocol.extensions, [])
        await self.publish(node, "a", "plain " * 1000)
        self.assertEqual(await self.next(socket), "plain " * 1000)

    async def test_subprotocols_are_offered_and_none_is_selected(self):
        socket = await self.follow(self.node(), "channels=a", subprotocols=["mqtt", "chat"])
        self.assertIsNone(socket.subprotocol)

    async def test_pings_are_answered_with_their_payload(self):
        node = self.node()
        socket = await self.follow(node, "channels=a", ping_interval=None)
        for number in range(10):
            pong = await socket.ping(f"ping {number}")
            await asyncio.wait_for(pong, PATIENCE_S)

    async def test_a_pong_is_answered_in_the_middle_of_a_message(self):
        node = self.node()
        socket = await self.follow(node, "channels=a", ping_interval=None)
        release = asyncio.Event()

        async def fragments():
            yield "one"
            await release.wait()
            yield "two ü"
            yield ""

        sending = asyncio.create_task(socket.send(fragments()))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(await socket.ping(), PATIENCE_S)
        release.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        await asyncio.wait_for(await socket.ping(), PATIENCE_S)
        self.assertEqual((await self.publish(node, "a", "still here"))["subscribers"], 1)
        self.assertEqual(await self.next(socket), "still here")

    async def test_fragments_over_the_limit_are_1009(self):
        node = self.node()
        socket = await self.follow(node, "channels=a")
        await socket.send(b"x" * 4096 for _ in range(16))
        await asyncio.wait_for(await socket.ping(), PATIENCE_S)

        async def fragments():
            for _ in range(16):
                yield b"x" * 4096
            yield b"x"

        await socket.send(fragments())
        self.assertEqual(await self.close_of(socket), 1009)

    async def test_a_keepalive_of_the_client_keeps_it_alive(self):
        node = self.node()
        socket = await self.follow(node, "channels=a", ping_interval=0.1, ping_timeout=PATIENCE_S)
        await asyncio.sleep(1.2)
        await self.publish(node, "a", "still here")
        self.assertEqual(await self.next(socket), "still here")
        self.assertGreater(socket.latency, 0)

    async def test_a_graceful_shutdown_is_1012(self):
        node = self.node()
        socket = await self.follow(node, "channels=a")
        node.begin_to_stop()
        self.assertEqual(await self.close_of(socket), 1012)

    async def test_a_close_of_the_client_is_answered_with_its_code(self):
        socket = await self.follow(self.node(), "channels=a")
        await socket.close(code=4000, reason="enough")
        self.assertEqual((socket.protocol.close_rcvd.code, socket.close_code), (4000, 4000))

    async def test_a_refusal_has_its_status(self):
        node = self.node()
        for query, origin, status in [("channels=a*", None, 400), ("", None, 400),
                                      ("channels=a", "https://elsewhere.example", 403)]:
            with self.assertRaises(InvalidStatus) as refused:
                await self.follow(node, query, origin=origin)
            self.assertEqual(refused.exception.response.status_code, status, query)


class Threaded(unittest.TestCase):
    """The client for threads."""

    def setUp(self):
        self.node = Node('[limits]\nping = "2s"\npong = "2s"\n')
        self.addCleanup(self.node.stop)

    def follow(self, query, **options):
        return self.enterContext(connect_sync(
            self.node.url(query), proxy=None, open_timeout=PATIENCE_S, close_timeout=PATIENCE_S, **options))

    def test_messages_in_order_and_resume(self):
        socket = self.follow("channels=a&format=json")
        json.loads(socket.recv(PATIENCE_S))
        self.node.publish_all([{"channel": "a", "data": data} for data in range(500)])
        ids = []
        for data in range(500):
            message = json.loads(socket.recv(PATIENCE_S))
            self.assertEqual((message["data"], message["offset"]), (data, data + 1))
            ids.append(message["id"])
        again = self.follow(f"channels=a&format=json&since={ids[249]}")
        json.loads(again.recv(PATIENCE_S))
        for data in range(250, 500):
            self.assertEqual(json.loads(again.recv(PATIENCE_S))["data"], data)

    def test_pings_both_ways(self):
        socket = self.follow("channels=a", ping_interval=None)
        for number in range(5):
            self.assertTrue(socket.ping(f"{number}").wait(PATIENCE_S))
        time.sleep(5)  # several pings of the node, each of which has 2 s
        self.node.publish("a", "still here")
        self.assertEqual(socket.recv(PATIENCE_S), "still here")

    def test_fragments_are_read_and_dropped(self):
        socket = self.follow("channels=a", ping_interval=None)
        socket.send(["a", "", "ü", "b" * 1000])
        socket.send(b"x" * 1024 for _ in range(64))
        self.assertTrue(socket.ping().wait(PATIENCE_S))
        self.node.publish("a", "of a backend")
        self.assertEqual(socket.recv(PATIENCE_S), "of a backend")

    def test_a_message_over_the_limit_is_1009(self):
        socket = self.follow("channels=a")
        socket.send(b"x" * (CLIENT_MESSAGE_BYTES_MAX + 1))
        with self.assertRaises(ConnectionClosed) as closed:
            socket.recv(PATIENCE_S)
        self.assertEqual(closed.exception.rcvd.code, 1009)


if __name__ == "__main__":
    unittest.main()
