# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The measuring part of demo.sh: deploy the examples, invoke each cold and warm, check every answer, print the table.

Round trips are those of a client on the first CPU, one at a time. The floor, a plain blocking UDP echo where
the node is, is measured before each function, on the same CPU.
"""

import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zlib

BUILD, NODE, PINS = os.environ["BUILD"], os.environ["NODE"], os.environ["PINS"]
KERNEL = bool(os.environ.get("KERNEL"))
COLD, WARM = 10, 200
CPU = str(min(os.sched_getaffinity(0)))
TTY = sys.stderr.isatty()


def color(name, text):
    return os.environ.get(name, "") + text + (os.environ.get("PLAIN", "") if os.environ.get(name) else "")


def fail(text):
    progress("")
    sys.stdout.flush()
    print(color("RED", "demo: " + text), file=sys.stderr)
    sys.exit(1)


def progress(text):
    if TTY:
        print("\r\033[K" + text, end="", file=sys.stderr, flush=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        text = (done.stderr or done.stdout).strip()
        fail(f"`{' '.join(command)}` ended with {done.returncode}: {text}")
    return done.stdout


def warmcore(*arguments):
    return json.loads(run(BUILD + "/bin/warmcore", "--node", NODE, "--json", *arguments))


def counters():
    """Of the XDP program, of the node's UDP socket, and of the agents."""
    status = warmcore("status")
    return (status["counters"] if KERNEL else {}), status["stack"], status["agents"]


def check(example, folder, name, reply):
    """The known answer, or the end."""
    if not example:  # the no-op: the length of its payload
        right = reply == b"0"
    else:
        with open(os.path.join(folder, example["expected"]), "rb") as file:
            expected = file.read()
        if example.get("check", "equal") == "inflate":
            right = zlib.decompress(reply) == expected and len(reply) < len(expected)
        elif example["expected"].endswith(".json"):
            right = json.loads(reply) == json.loads(expected)
        else:
            right = reply == expected
    if not right:
        fail(f"{name} answered wrongly: {reply[:200]!r}")


def invoke(name, payload, *arguments):
    """One call of `warmcore invoke`: what it says, and the bytes of the (last) reply."""
    with tempfile.NamedTemporaryFile(dir=os.environ["STATE"]) as reply:
        what = warmcore("invoke", name, *payload, "--cpu", CPU, "--output", reply.name, *arguments)
        return what, reply.read()


def quantiles(values):
    """p50 and p99 by nearest rank."""
    values = sorted(values)
    return values[(len(values) - 1) // 2], values[-(-len(values) * 99 // 100) - 1]


def floor():
    path = "floor" if KERNEL else "loopback"  # where the node is: behind a veth pair, or on 127.0.0.1
    return json.loads(run(BUILD + "/tests/bench/bench_rtt", "--mode", path, "--rounds", "3", "--block", "200"))


def measure(folder, manifest, echo):
    name, example = manifest["name"], manifest.get("example")
    payload = ["--file", os.path.join(folder, example["input"])] if example else []
    cold = []
    before = counters()
    for i in range(COLD):
        progress(f"{name}: cold start {i + 1} of {COLD}")
        if not i:
            warmcore("deploy", folder)
        warmcore("evict", name)  # so the next one starts a new instance
        one, reply = invoke(name, payload)
        check(example, folder, name, reply)
        if one["warm"]:
            fail(f"{name}: an instance that was stopped answered")
        cold.append(one["round_trip_ns"])
    progress(f"{name}: {WARM} times warm")
    echo.append(floor())
    what, reply = invoke(name, payload, "--repeat", str(WARM))
    check(example, folder, name, reply)
    warm = what["warm"]
    # Another core may get one when the warm one is not free yet; then it is warm, too.
    if what["replies"] != WARM or warm["round_trip_ns"]["count"] < WARM - len(os.sched_getaffinity(0)):
        fail(f"{name}: {what['replies']} of {WARM} replies, {warm['round_trip_ns']['count']} of them warm")
    after = counters()
    by_xdp, by_socket = (sum(after[i].get(c, 0) - before[i].get(c, 0) for c in ("to_core", "to_pending"))
                         for i in (0, 1))
    # On a busy machine an answer may come so late that the client has asked again: that got a core, too, whose agent knew it.
    again = after[2]["retransmits"] - before[2]["retransmits"]
    if by_xdp + by_socket != COLD + WARM + again:
        fail(f"{name}: {COLD + WARM} invocations and {again} retransmissions, but the counters say {by_xdp} by XDP and {by_socket} by the socket")
    return {
        "name": name,
        "runtime": {"native": "C", "python": "Python", "node": "Node.js"}[manifest["runtime"]],
        "cold": quantiles(cold),
        "warm": (warm["round_trip_ns"]["p50"], warm["round_trip_ns"]["p99"]),
        "wait": warm["wait_ns"]["p50"],
        "service": warm["service_ns"]["p50"],
        "ratio": warm["round_trip_ns"]["p50"] / 1000 / echo[-1]["p50"],  # to the echo of a moment before
        "count": warm["round_trip_ns"]["count"],
        "cores": ",".join(sorted(what["cores"])),
        "by": "XDP" if not by_socket else "socket" if not by_xdp else "both",
    }


def table(rows, echo):
    def us(ns):
        return f"{ns / 1000:.1f}" if ns < 999_950 else f"{ns / 1000:.0f}"

    print(f"  {'':12}{'':9}{'cold start, us':>19}{'warm, us':>17}{'':8}{'of that, at the node':>22}")
    head = ("p50", "p99", "p50", "p99", "x echo", "wait p50", "service p50")
    widths = (10, 9, 9, 8, 8, 10, 12)
    print(f"  {'function':12}{'language':9}" + "".join(f"{h:>{w}}" for h, w in zip(head, widths)) +
          f"{'core':>6}{'warm':>6}  {'chosen by':10}answer")
    for row in rows:
        cells = [us(c) for c in (*row["cold"], *row["warm"])]
        cells += [f"{row['ratio']:.2f}", us(row["wait"]), us(row["service"])]
        print(f"  {row['name']:12}{row['runtime']:9}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths)) +
              f"{row['cores']:>6}{row['count']:>6}  {row['by']:10}" + color("GREEN", "right"))
    p50, p99 = (statistics.median(one[p] for one in echo) for p in ("p50", "p99"))
    print(f"  {'UDP echo':12}{'C':9}{'':19}{p50:>9.1f}{p99:>8.1f}{1:>8.2f}   "
          "the floor: no node, one blocking socket, as many bytes as the no-op")
    print(f"  Cold: {COLD} starts of a new instance (p99 is the slowest). Warm: {WARM} more, one after the other. "
          f"Client and echo on CPU {CPU}.")
    if any(row["by"] != "XDP" for row in rows) and KERNEL:
        print("  Chosen by the socket: larger than one frame, and IP fragments pass the XDP program by.")


def kernel_side():
    found = subprocess.run(["scripts/find-tool.sh", "bpftool"], capture_output=True, text=True, check=False)
    bpftool = found.stdout.strip()
    seen = counters()[0]
    print(color("BOLD", "\nThe kernel's side of it"))
    print("  counters of the XDP program: " +
          ", ".join(f"{name} {value}" for name, value in seen.items() if value))
    if not seen["to_core"]:
        fail("the XDP program has not sent a single invocation to a core")
    cores = warmcore("status")["cores"]
    if any(core["state"] != "free" for core in cores):
        fail("a core is not free although nothing runs: " + json.dumps(cores))
    if not bpftool:
        print("  bpftool is not installed: the maps are not shown")
        return
    print(f"  $ bpftool prog show pinned {PINS}/progs/wc_dispatch")
    print("    " + run(bpftool, "prog", "show", "pinned", PINS + "/progs/wc_dispatch").splitlines()[0])
    print(f"  $ bpftool map dump pinned {PINS}/maps/wc_cores")
    dump = json.loads(run(bpftool, "-j", "map", "dump", "pinned", PINS + "/maps/wc_cores"))
    for core, value in enumerate(dump[0]["formatted"]["value"][".data.wc_cores"][0]["wc_cores_data"]):
        if value["claims"] > 1:
            words = ("state", "shard", "cpu", "function_id", "claims", "releases", "warm")
            print(f"    core {core}: " + ", ".join(f"{w} {value[w]}" for w in words))


def main():
    manifests = []
    for path in sorted(glob.glob(BUILD + "/examples/*/*/function.json")):
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        if manifest["runtime"] == "custom":
            continue  # needs curl, which is no dependency
        if manifest.get("example") or manifest["name"] == "noop-native":
            manifests.append((os.path.dirname(path), manifest))
    order = ("native", "python", "node")
    manifests.sort(key=lambda m: (bool(m[1].get("example")), order.index(m[1]["runtime"]), m[1]["name"]))
    missing = set(order) - {m["runtime"] for _, m in manifests if m.get("example")}
    if missing:
        fail("no example of: " + ", ".join(sorted(missing)))
    print(color("BOLD", "\nThe examples, cold and warm"), flush=True)
    if not TTY:
        print(f"  measuring {len(manifests)} functions ...", flush=True)
    rows, echo = [], []
    for folder, manifest in manifests:
        rows.append(measure(folder, manifest, echo))
    progress("")
    table(rows, echo)
    if KERNEL:
        kernel_side()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        progress("")
        sys.exit(130)
