#!/usr/bin/env python3
"""sasl.py PORT USER PASSWORD: one value through memcached's binary protocol with SASL PLAIN; prints value or refused."""
import socket
import struct
import sys

s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)


def ask(opcode, key=b"", value=b"", extras=b""):
    s.sendall(struct.pack(">BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, len(extras) + len(key) + len(value), 0, 0) + extras + key + value)
    head = b""
    while len(head) < 24:
        part = s.recv(24 - len(head))
        if not part:
            sys.exit("closed")
        head += part
    _, _, _, extra, _, status, total, _, _ = struct.unpack(">BBHBBHIIQ", head)
    body = b""
    while len(body) < total:
        body += s.recv(total - len(body))
    return status, body[extra:]


status, _ = ask(0x21, b"PLAIN", b"\0" + sys.argv[2].encode() + b"\0" + sys.argv[3].encode())
if status:
    print("refused")
    sys.exit(0)
ask(0x01, b"key", b"value", struct.pack(">II", 0, 0))
print(ask(0x00, b"key")[1].decode())
