#!/usr/bin/env python3
"""Takes messages by POST and publishes them at a NATS server, which speaks no HTTP of that kind.

    bridge.py HTTP-PORT NATS-PORT

To /publish it goes to the subject `bench`, to /publish/NAME to NAME.
It answers when the message is written to the server's socket, and is no part of what is measured.
"""

import asyncio
import sys

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"name":"bridge"}\r\n'


class Nats(asyncio.Protocol):
    """The connection to the server, whose PINGs are answered."""

    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""
        transport.write(CONNECT)

    def publish(self, subject, message):
        self.transport.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(message), message))

    def data_received(self, piece):
        *lines, self.rest = (self.rest + piece).split(b"\r\n")
        for line in lines:
            if line == b"PING":
                self.transport.write(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                sys.exit(f"bridge: the server says {line.decode()}")

    def connection_lost(self, _error):
        sys.exit("bridge: the server is gone")


class Publisher(asyncio.Protocol):
    """A client that POSTs: requests with Content-Length, on a connection that is kept."""

    def __init__(self, nats):
        self.nats = nats
        self.rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, piece):
        self.rest += piece
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            length = 0
            for line in self.rest[:end].split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            begin = end + 4
            if len(self.rest) < begin + length:
                return
            method, path, _ = self.rest.split(b" ", 2)
            if method == b"POST":
                subject = path.removeprefix(b"/publish").removeprefix(b"/") or b"bench"
                self.nats.publish(subject, self.rest[begin : begin + length])
            self.rest = self.rest[begin + length :]
            self.transport.write(ANSWER)


async def main(http_port, nats_port):
    loop = asyncio.get_running_loop()
    for _ in range(100):
        try:
            _, nats = await loop.create_connection(Nats, "127.0.0.1", nats_port)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    else:
        sys.exit("bridge: nobody listens at the server's port")
    server = await loop.create_server(lambda: Publisher(nats), "127.0.0.1", http_port)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(64)
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
