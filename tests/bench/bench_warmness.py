#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `warmness`: cold starts at the same memory-time. First the simulation (bench_warmness.c), then a small trace on a real node.

The node runs the simulation's calls with a minute of --minute-ms, once for each keep-alive rule, and its counters are put beside what the
simulation says about the same calls. Whatever is not known here goes to the simulation: --functions, --days, --seed, --csv ...
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import wcproto  # noqa: E402

SKIP = 77
PROGRAM = os.path.join(harness.BUILD, "tests", "bench", "bench_warmness")


def read_trace(arguments, days_of_minutes):
    """(minute, function, minutes that it takes) in the order of time."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace")
        subprocess.run([PROGRAM, *arguments, "--trace", path], check=True)
        with open(path) as file:
            calls = [tuple(map(int, line.split())) for line in file]
    calls = [(at / 60000, function, takes / 60000) for at, function, takes in calls if at < days_of_minutes * 60000]
    return sorted(calls)


def replay(node, ids, calls, minute_s):
    """Every call at its time. Returns how late the latest one was, in minutes of the trace."""
    late, under_way = 0, 0
    with node.client() as client:
        begin = time.monotonic()
        for minute, function, takes in calls:
            while True:
                left = begin + minute * minute_s - time.monotonic()
                if left <= 0:
                    break
                if client.receive(left) is not None:
                    under_way -= 1
            late = max(late, -left / minute_s)
            client.send(client.fresh_id(), ids[function], b"t =%d" % int(takes * minute_s * 1000))
            under_way += 1
        while under_way:
            answer = client.receive(60)
            if answer is None or answer.kind != wcproto.REPLY:
                raise SystemExit("bench_warmness: not answered, or wrongly: %s" % (answer,))
            under_way -= 1
    return late


def on_node(rule, fixed_minutes, calls, minute_ms, functions):
    text = "0-1*16" if len(os.sched_getaffinity(0)) > 1 else "0*32"
    node = harness.Node("wrm", "--cores", text, "--keep-alive", rule, "--keep-alive-ms", str(round(fixed_minutes * minute_ms)),
                        "--keep-alive-bin-ms", str(minute_ms), "--instances-memory-mb", "0")  # fmt: skip
    try:
        with open(os.path.join(node.shared, "spans"), "w") as file:
            os.fchmod(file.fileno(), 0o666)
        node.up()
        gate = harness.native_function("gate")
        ids = {f: node.deploy("f%d" % f, "native", "gate.so", {"gate.so": gate}, event="binary", timeout_ms=60000)
               for f in sorted(functions)}  # fmt: skip
        late = replay(node, ids, calls, minute_ms / 1000)
        time.sleep(fixed_minutes * minute_ms / 1000)
        found = node.status()["warmth"]
        found["late"] = late
        hits, cold = sum(found["hits"].values()), sum(found["cold_starts"].values())
        if hits + cold != len(calls):
            raise SystemExit("bench_warmness: %d hits and %d cold starts of %d calls" % (hits, cold, len(calls)))
        return found
    finally:
        node.close()


def confirm(options):
    arguments = ["--functions", str(options.node_functions), "--days", "1", "--seed", str(options.node_seed), "--cap", "30"]
    calls = read_trace(arguments, options.minutes)
    functions = {function for _, function, _ in calls}
    print("\nOn a node: %d calls of %d functions in %d minutes of %d ms; idle time in minutes of the trace" %
          (len(calls), len(functions), options.minutes, options.minute_ms))  # fmt: skip
    print("  %-24s %8s %8s %8s %8s %8s %10s %10s %8s" % ("", "cold", "first", "expired", "early", "burst", "prewarms", "idle min", "late"))
    base = None
    for rule, fixed in (("fixed", 10), ("hybrid", 10), ("hybrid", 20), ("percentile", 10)):
        found = on_node(rule, fixed, calls, options.minute_ms, functions)
        cold, idle = found["cold_starts"], found["idle_ms"] / options.minute_ms
        total = sum(cold.values())
        base = base or (total, idle)
        print("  %-24s %8d %8d %8d %8d %8d %10d %10.0f %8.2f" %
              ("%s, %d min" % (rule, fixed), total, cold["first"], cold["expired"], cold["early"], cold["burst"],
               found["prewarms"]["predicted"], idle, found["late"]))  # fmt: skip
        if options.output:
            with open(options.output, "a") as file:
                json.dump({"name": "warmness_node_%s_%dmin" % (rule, fixed), "value": total, "unit": "cold starts", "floor": base[0],
                           "ratio": round(total / base[0], 4), "runs": 1, "calls": len(calls), "idle_minutes": round(idle, 1),
                           "memory_ratio": round(idle / base[1], 4), "late_minutes": round(found["late"], 3),
                           "cold_starts": cold, "prewarms": found["prewarms"]}, file)  # fmt: skip
                file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", nargs="?", help="JSON lines go there")
    parser.add_argument("--node-functions", type=int, default=100)
    parser.add_argument("--node-seed", type=int, default=3)
    parser.add_argument("--minutes", type=int, default=720, help="of the trace that the node runs")
    parser.add_argument("--minute-ms", type=int, default=40)
    parser.add_argument("--only-node", action="store_true")
    options, rest = parser.parse_known_args()
    if os.geteuid():
        print("bench_warmness: needs root, for network namespaces and BPF", file=sys.stderr)
        return SKIP
    if not options.only_node:
        subprocess.run([PROGRAM, *([options.output] if options.output else []), *rest], check=True)
    confirm(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
