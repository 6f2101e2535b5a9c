"""Publishes its arguments through libfanfare, with nothing but the standard library.

    python3 publish.py unix:/tmp/fanfare-0.sock demo 'hello, world'

The library is found as the system's loader finds it, or at $FANFARE_LIBRARY.
"""

import ctypes
import os
import sys

ABI = 1


class Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("abi", ctypes.c_uint32),
        ("queue_messages", ctypes.c_uint64),
        ("queue_bytes", ctypes.c_uint64),
        ("unknown_ms", ctypes.c_uint64),
        ("connect_ms", ctypes.c_uint64),
        ("error_text", ctypes.c_void_p),
        ("error_text_size", ctypes.c_size_t),
    ]


class Message(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("kind", ctypes.c_uint32)] + [
        field
        for name in ("channel", "data", "event", "key")
        for field in ((name, ctypes.c_char_p), (name + "_size", ctypes.c_size_t))
    ]


class Receipt(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_uint32),
        ("result", ctypes.c_int32),
        ("epoch", ctypes.c_uint64),
        ("position", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("subscribers", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


library = ctypes.CDLL(os.environ.get("FANFARE_LIBRARY", "libfanfare.so.0"))
library.fanfare_open.argtypes = [
    ctypes.c_char_p,
    ctypes.POINTER(Options),
    ctypes.POINTER(ctypes.c_uint64),
]
library.fanfare_publish.argtypes = [
    ctypes.c_uint64,
    ctypes.POINTER(Message),
    ctypes.c_uint64,
    ctypes.POINTER(Receipt),
]
library.fanfare_close.argtypes = [ctypes.c_uint64]
library.fanfare_result_text.restype = ctypes.c_char_p


def check(result, why=b""):
    if result != 0:
        raise OSError((why or library.fanfare_result_text(result)).decode())


class Publisher:
    """An open publisher; `with` closes it. Any thread may publish; ctypes lets go of the GIL."""

    def __init__(self, url):
        why = ctypes.create_string_buffer(512)
        options = Options(ctypes.sizeof(Options), ABI, connect_ms=2000)
        options.error_text, options.error_text_size = ctypes.addressof(why), len(why)
        self.handle = ctypes.c_uint64()
        check(library.fanfare_open(url.encode(), options, self.handle), why.value)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        library.fanfare_close(self.handle)

    def publish(self, channel, data, key=None, timeout_ms=5000):
        name = channel.encode()
        message = Message(ctypes.sizeof(Message), 0, name, len(name), data, len(data))
        if key is not None:
            message.key, message.key_size = key, len(key)
        receipt = Receipt(ctypes.sizeof(Receipt))
        check(library.fanfare_publish(self.handle, message, timeout_ms, receipt))
        return receipt


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} URL CHANNEL MESSAGE...")
    with Publisher(sys.argv[1]) as publisher:
        for text in sys.argv[3:]:
            receipt = publisher.publish(sys.argv[2], text.encode())
            print(f"offset {receipt.offset}, {receipt.subscribers} subscribers")
