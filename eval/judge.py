"""judge.py FILE PROGRAM: counts, in a document of syspart status, the threads of a program.

Prints how many carry a filter that equals one of the profile's kinds, how many wait in a main loop, and how many there are.
Status 0: every thread in a main loop carries the filter of that kind, and no thread carries one that is no kind's. Others are
named on standard error."""
import json
import sys

threads = [t for t in json.load(open(sys.argv[1]))["threads"] if t["program"] == sys.argv[2]]
equal = [t for t in threads if t["kinds"]]
inside = [t for t in threads if t["inside"]]
bad = [t for t in inside if t["inside"] not in t["kinds"]] + [t for t in threads if t["filters"] and not t["kinds"]]
print("%d / %d / %d" % (len(equal), len(inside), len(threads)))
for t in bad:
    print("thread %d of %d (%s): in %s, carries %d filters of %s" % (t["tid"], t["pid"], t["name"], t["inside"] or "no main loop", t["filters"], t["kinds"]), file=sys.stderr)
sys.exit(1 if bad or not inside else 0)
