#!/usr/bin/env python3
"""reduced.py TABLE: of a call graph (callgraph -o json) on standard input what edgecheck asks for: sites whose address is in the
table, and of their targets those with the addresses there. The whole graph has up to 10,000 sites with as many targets each:
gigabytes, kept nowhere."""
import json
import sys

wanted = {}
for line in open(sys.argv[1]):
    f = line.split("\t")
    if f[0][0] != "#":
        wanted.setdefault("0x" + f[1], set()).add("0x" + f[3])
for line in sys.stdin.buffer:
    _, _, _, module, _, _, _, site = line[:400].decode().split('"', 8)[:8]
    targets = []
    for address in wanted.get(site, ()):
        end = ('","%s"]' % address).encode()
        at = line.find(end)
        while at >= 0:
            targets.append([line[line.rindex(b'"', 0, at) + 1:at].decode(), address])
            at = line.find(end, at + 1)
    if site in wanted:
        print(json.dumps({"module": module, "site": site, "targets": targets}))
