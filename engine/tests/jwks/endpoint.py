"""An endpoint of key sets over TLS, as Python's standard library serves it.

    endpoint.py FOLDER

The path chooses what is wrong with it: /NAME answers with FOLDER/keys.json until there is a file
FOLDER/bad, and from then on as NAME says. It prints its port, and writes a line to FOLDER/requests
for each request.
"""

import http.server
import pathlib
import ssl
import sys
import time

HERE = pathlib.Path(__file__).parent
FOLDER = pathlib.Path(sys.argv[1])


class Endpoint(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(FOLDER / "requests", "a", encoding="ascii") as log:
            log.write(self.path + "\n")
        keys = (FOLDER / "keys.json").read_bytes()
        name = self.path.strip("/") if (FOLDER / "bad").exists() else "good"
        fault = getattr(self, "fault_" + name, None)
        if fault is None:
            self.answer(200, keys)
        else:
            fault(keys)

    def answer(self, status, body, kind="application/json", **fields):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fault_down(self, keys):
        self.close_connection = True

    def fault_error(self, keys):
        self.answer(503, keys)

    def fault_redirect(self, keys):
        self.answer(302, keys, Location="/stolen")

    def fault_page(self, keys):
        self.answer(200, keys, kind="text/html")

    def fault_garbage(self, keys):
        self.answer(200, b"<html></html>")

    def fault_empty(self, keys):
        self.answer(200, b'{"keys": []}')

    def fault_huge(self, keys):
        self.answer(200, keys + b" " * (10 << 20))

    def fault_endless(self, keys):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"1000\r\n" + b" " * 0x1000 + b"\r\n")

    def fault_cut(self, keys):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(keys) + 1))
        self.end_headers()
        self.wfile.write(keys)
        self.close_connection = True

    def fault_slow(self, keys):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(keys)))
        self.end_headers()
        for byte in keys:
            self.wfile.write(bytes([byte]))
            time.sleep(1)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # who is answered badly goes away


def main():
    server = Server(("127.0.0.1", 0), Endpoint)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(HERE / "localhost.pem", HERE / "localhost.key.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
