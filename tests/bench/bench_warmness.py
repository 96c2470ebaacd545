#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `warmness`: cold starts at the same memory-time. First the simulation (bench_warmness.c), then a smaller trace on a real node.

The node runs the calls of a trace with a minute of --minute-ms: under a fixed 10 minutes, and under the hybrid rule with three fallbacks
around that with which its instances idle, in the simulation of these very calls, for as long as under the fixed rule. Between these
its cold starts are taken, on a straight line, at the idle time that the node measured under the fixed rule. Beside each figure is
the simulation's for the same calls, with the same rule. The instances are alike, so memory-time is idle time.

So that both are of the same thing: the node starts an instance for each call that finds none (--starts all), has no memory limit, and
comes before whatever else runs on the machine. In the simulation a start, and each call, take as much longer as they did in the
node's first run: at this pace they are seconds of the trace. When the trace is over, what idles is stopped, and counted until then.

The seed of the node's trace is not one of those with which this was developed (3, 4 and 5). Whatever is not known here goes to the first
simulation: --functions, --days, --seed ...; --csv goes to both.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import wcproto  # noqa: E402

SKIP = 77
PROGRAM = os.path.join(harness.BUILD, "tests", "bench", "bench_warmness")
REASONS = ("first", "expired", "early", "burst")
FIXED = 10  # minutes
AROUND = (0.8, 1, 1.25)  # fallbacks of the hybrid rule, of that of the simulation
MINUTE = 60000  # of the trace, in ms


def read_trace(arguments):
    """(minute, function, minutes that it takes) in the order of time."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace")
        subprocess.run([PROGRAM, *arguments, "--trace", path], check=True)
        with open(path) as file:
            calls = [tuple(map(int, line.split())) for line in file]
    return sorted((at / MINUTE, function, takes / MINUTE) for at, function, takes in calls)


def simulate(arguments, overhead, *rules):
    done = subprocess.run([PROGRAM, *arguments, *overhead,
                           *(part for rule in rules for part in ("--rule", rule))], stdout=subprocess.PIPE, check=True)  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


class Node(harness.Node):
    """One whose functions sleep for as long as a call says, and that can begin anew with them, knowing nothing."""

    def __init__(self, options, functions):
        text = "0-1*16" if len(os.sched_getaffinity(0)) > 1 else "0*32"
        super().__init__("wrm", "--cores", text, "--instances-memory-mb", "0", "--starts", "all",
                         "--keep-alive-bin-ms", str(options.minute_ms))  # fmt: skip
        self.minute_s = options.minute_ms / 1000
        self.end_minute = options.minutes
        self.up()
        nap = self.native_nap()
        self.ids = {f: self.deploy("f%d" % f, "native", "nap.so", {"nap.so": nap}, event="binary", timeout_ms=120000)
                    for f in sorted(functions)}  # fmt: skip

    def native_nap(self):
        target = os.path.join(self.root, "nap.so")
        source = os.path.join(harness.ROOT, "tests", "bench", "functions", "nap.c")
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-I" +
                        os.path.join(harness.ROOT, "runtimes", "native"), "-o", target, source], check=True)  # fmt: skip
        return target

    def run(self, rule, fixed, calls):
        """What the node counts for these calls: as the simulation says it, and more."""
        self.down()
        for name in os.listdir(self.state):  # what was learned before
            if name.startswith("idle-times"):
                os.unlink(os.path.join(self.state, name))
        self.up("--keep-alive", rule, "--keep-alive-ms", str(round(fixed * self.minute_s * 1000)))
        late, more = self.replay(calls)
        found = self.status()["warmth"]
        known = self.json("warmth")["functions"]
        self.cli("set", "--keep-alive", "fixed", "--keep-alive-ms", "1")  # stops all that idle, which counts their time
        harness.wait_until(lambda: self.status()["instances"] == 0, "all instances are stopped")
        cold, hits = found["cold_starts"], sum(found["hits"].values())
        if hits + sum(cold.values()) != len(calls):
            raise SystemExit("bench_warmness: %d hits and %d cold starts of %d calls" % (hits, sum(cold.values()), len(calls)))
        result = {reason: cold[reason] for reason in REASONS}
        starts = sum(sum(f["cold_starts"].values()) for f in known)
        result.update(rule=rule, fixed_minutes=fixed, calls=len(calls), cold=sum(cold.values()),
                      idle_minutes=self.status()["warmth"]["idle_ms"] / 1000 / self.minute_s,
                      prewarms=found["prewarms"]["predicted"], wasted=found["prewarms"]["wasted"],
                      skipped=found["prewarms"]["skipped"], waited=found["hits"]["waited"],
                      start_ms=sum(f["start_us"] * sum(f["cold_starts"].values()) for f in known) / starts / 1000,
                      call_ms=statistics.median(more) * 1000,
                      late_p99_ms=late[len(late) * 99 // 100] * 1000, late_max_ms=late[-1] * 1000)  # fmt: skip
        other = result["cold"] - sum(result[reason] for reason in REASONS)
        if other:
            raise SystemExit("bench_warmness: %d cold starts for other reasons: %s" % (other, cold))
        return result

    def replay(self, calls):
        """Every call at its time. How late each was, in seconds, sorted; and how much longer than it should each took, with its way."""
        late, more, under_way = [], [], {}
        with self.client() as client:
            def receive(seconds):
                answer = client.receive(seconds)
                if answer is None:
                    return False
                if answer.kind != wcproto.REPLY:
                    raise SystemExit("bench_warmness: answered wrongly: %s" % (answer,))
                more.append(time.monotonic() - under_way.pop(answer.request_id))
                return True

            begin = time.monotonic()
            for minute, function, takes in calls:
                while True:
                    left = begin + minute * self.minute_s - time.monotonic()
                    if left <= 0:
                        break
                    receive(left)
                late.append(-left)
                number, takes = client.fresh_id(), int(takes * self.minute_s * 1e6)
                under_way[number] = time.monotonic() + takes / 1e6
                client.send(number, self.ids[function], b"%d" % takes)
            while under_way:
                if not receive(60):
                    raise SystemExit("bench_warmness: %d calls were not answered" % len(under_way))
            time.sleep(max(0, begin + self.end_minute * self.minute_s - time.monotonic()))
        return sorted(late), more


def between(points, wanted):
    """The value at `wanted` of a line through points (at, value), and whether it is between two of them."""
    points = sorted(points)
    low, high = next((pair for pair in zip(points, points[1:]) if wanted <= pair[1][0]), points[-2:])
    share = (wanted - low[0]) / (high[0] - low[0])
    return low[1] + share * (high[1] - low[1]), points[0][0] <= wanted <= points[-1][0]


def show(result, node, sim):
    print("  %-20s" % result + "".join("%7d %7d" % (node[key], sim[key]) for key in ("cold", *REASONS, "prewarms", "wasted", "idle_minutes")) +
          "%8.1f%% %6.1f%%" % (100 * (node["cold"] / sim["cold"] - 1), 100 * (node["idle_minutes"] / sim["idle_minutes"] - 1)) +
          "%8.1f %7.1f" % (node["late_p99_ms"], node["late_max_ms"]))  # fmt: skip
    sys.stdout.flush()


def write(output, name, node, sim, base):
    if not output:
        return
    line = {"name": "warmness_node_" + name, "value": node["cold"], "unit": "cold starts", "floor": base["cold"],
            "ratio": round(node["cold"] / base["cold"], 4), "runs": 1, "memory_ratio": round(node["idle_minutes"] / base["idle_minutes"], 4)}  # fmt: skip
    for key, value in node.items():
        if key not in ("rule", "cold"):
            line[key] = round(value, 3) if isinstance(value, float) else value
    line.update({"sim_" + key: sim[key] for key in ("cold", *REASONS, "prewarms", "wasted", "idle_minutes")})
    with open(output, "a") as file:
        file.write(json.dumps(line) + "\n")


def confirm(options):
    arguments = ["--functions", str(options.node_functions), "--days", "60", "--minutes", str(options.minutes),
                 "--seed", str(options.node_seed), "--cap", str(options.node_cap)]  # fmt: skip
    for path in options.csv:
        arguments += ["--csv", path]
    calls = read_trace(arguments)
    functions = {function for _, function, _ in calls}
    if not calls:
        raise SystemExit("bench_warmness: nobody calls in these %d minutes" % options.minutes)
    print("\nOn a node: %d calls of %d functions in %d minutes of %d ms, seed %d; of each pair the node's figure, then that of the "
          "simulation\n" % (len(calls), len(functions), options.minutes, options.minute_ms, options.node_seed))  # fmt: skip
    print("  %-20s" % "" + "".join("%15s" % text for text in ("cold starts", *REASONS, "prewarms", "wasted", "idle minutes")) +
          "%9s %7s%16s" % ("cold", "idle", "late p99, max ms"))  # fmt: skip
    node = Node(options, functions)
    try:
        base = node.run("fixed", FIXED, calls)
        overhead = ["--start-ms", str(round(base["start_ms"] / options.minute_ms * MINUTE)),
                    "--call-ms", str(round(base["call_ms"] / options.minute_ms * MINUTE))]  # fmt: skip
        fixed = "fixed:%d" % FIXED
        sim_base, same = simulate(arguments, overhead, fixed, "hybrid:same")
        show("fixed %d min" % FIXED, base, sim_base)
        write(options.output, "fixed_%dmin" % FIXED, base, sim_base, base)
        points = []
        for share in AROUND:
            minutes = round(same["fixed_minutes"] * share * options.minute_ms) / options.minute_ms
            sim, = simulate(arguments, overhead, "hybrid:%.3f" % minutes)
            found = node.run("hybrid", minutes, calls)
            show("hybrid %.2f min" % minutes, found, sim)
            write(options.output, "hybrid_%d" % round(100 * share), found, sim, base)
            points.append((found, minutes))
    finally:
        node.close()
    conclude(options, base, sim_base, same, points)


def conclude(options, base, sim_base, same, points):
    cold, inside = between([(found["idle_minutes"], found["cold"]) for found, _ in points], base["idle_minutes"])
    fallback, _ = between([(found["idle_minutes"], minutes) for found, minutes in points], base["idle_minutes"])
    print("\n  A start took %.2f ms on average, a call %.2f ms more than it should (median): %.1f and %.1f s of the trace" %
          (base["start_ms"], base["call_ms"], base["start_ms"] / options.minute_ms * 60, base["call_ms"] / options.minute_ms * 60))
    if not inside:
        raise SystemExit("bench_warmness: the idle time of the fixed rule is not between those of the hybrid: nothing is confirmed")
    ratio, sim_ratio = cold / base["cold"], same["cold"] / sim_base["cold"]
    print("  At the idle time of a fixed %d min the hybrid has, between its runs, %.0f cold starts on the node with a fallback of %.1f min: "
          "%.1f %% fewer\n  In the simulation %d, with %.1f min: %.1f %% fewer" %
          (FIXED, cold, fallback, 100 - 100 * ratio, same["cold"], same["fixed_minutes"], 100 - 100 * sim_ratio))  # fmt: skip
    if options.output:
        with open(options.output, "a") as file:
            line = {"name": "warmness_node_hybrid_same_memory", "value": round(cold, 1), "unit": "cold starts", "floor": base["cold"],
                    "ratio": round(ratio, 4), "runs": len(points), "memory_ratio": 1, "fixed_minutes": round(fallback, 3),
                    "sim_cold": same["cold"], "sim_floor": sim_base["cold"], "sim_ratio": round(sim_ratio, 4),
                    "sim_fixed_minutes": same["fixed_minutes"], "seed": options.node_seed, "minute_ms": options.minute_ms,
                    "start_ms": round(base["start_ms"], 3), "call_ms": round(base["call_ms"], 3)}  # fmt: skip
            file.write(json.dumps(line) + "\n")


def come_first():
    """Of the node and its client: what else runs on the machine must not be what is measured; ten ms are some seconds of the trace."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError as error:
        print("bench_warmness: no real-time priority (%s): what else runs on this machine is measured, too" % error, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", nargs="?", help="JSON lines go there")
    parser.add_argument("--node-functions", type=int, default=100, choices=range(1, 4001), metavar="1..4000")
    parser.add_argument("--node-seed", type=int, default=11)
    parser.add_argument("--node-cap", type=int, default=30, help="calls an hour of the most popular ones")
    parser.add_argument("--minutes", type=int, default=480, help="of the trace that the node runs")
    parser.add_argument("--minute-ms", type=int, default=250)
    parser.add_argument("--csv", action="append", default=[], help="calls of a day, in the format of the Azure Functions data set of 2019")
    parser.add_argument("--only-node", action="store_true")
    options, rest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, harness.interrupt)
    if os.geteuid():
        print("bench_warmness: needs root, for network namespaces and BPF", file=sys.stderr)
        return SKIP
    if not shutil.which(os.environ.get("CC", "cc")):
        print("bench_warmness: needs a C compiler, for the function that the node runs", file=sys.stderr)
        return SKIP
    if not options.only_node:
        for path in options.csv:
            rest += ["--csv", path]
        subprocess.run([PROGRAM, *([options.output] if options.output else []), *rest], check=True)
    come_first()
    confirm(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
