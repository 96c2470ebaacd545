#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `memory`: what 200 idle instances of Python with numpy cost, over as many separate processes that have imported it.

The figure is memory by fair share (PSS of /proc/PID/smaps_rollup: each page divided by the number of processes that map it), with the
zygote, the maker and all inits of sandboxes on our side, all of them alive at once, after each has run once. Both sides are measured one after the other on the same machine.
--instances N measures another number.
"""

import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402
import wcproto  # noqa: E402

SKIP = 77
SOURCE = b"""
import time, numpy
def handler(event, context):
    time.sleep(event["seconds"])
    return int(numpy.ones(3).sum())
"""
SEPARATE = "import numpy, sys; numpy.ones(3).sum(); print('ready', flush=True); sys.stdin.read()"


def pss_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def instances(count):
    """KiB of `count` idle instances together with their zygote."""
    node = harness.Node("mem", "--cores", "0*%d" % -(-count // 8), "--pending", "4096", "--move", "off")
    try:
        node.up()
        function = node.deploy("mem", "python", "mem.handler", {"mem.py": SOURCE}, libraries=["numpy"], timeout_ms=600000)
        zygote = harness.wait_until(lambda: next((z for z in node.status()["zygotes"] if z["libraries"] == "numpy" and
                                                  z["state"] == "ready"), None), "the zygote is ready")  # fmt: skip
        node.cli("set", "--policy", "ll_ps", "--core-queue", "64", "--starts", "all")  # several at once on each core
        with node.client() as client:
            asked = [client.fresh_id() for _ in range(count)]
            # All of them at once, or one instance would serve two.
            for number in asked:
                client.send(number, function, json.dumps({"seconds": 0.02 * count + 3}).encode())
            for _ in asked:
                answer = client.receive(600)
                if answer is None or answer.kind != wcproto.REPLY or json.loads(answer.payload) != 3:
                    raise SystemExit("bench_memory: not answered, or wrongly: %s" % (answer,))
        node.wait_idle()
        pids = [pid for pid, _, environ in harness.processes() if b"WARMCORE_FUNCTION=mem\0" in environ]
        if len(pids) != count:
            raise SystemExit("bench_memory: %d instances instead of %d" % (len(pids), count))
        mark = b"/run/warmcore/%s/runtimes/sandbox/" % node.name.encode()
        sandboxes = [pid for pid, command, _ in harness.processes() if mark in command]
        return sum(pss_kib(pid) for pid in pids + sandboxes) + pss_kib(zygote["pid"])
    finally:
        node.close()


def separate(count):
    """KiB of as many interpreters, each started for itself."""
    environment = {"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    processes = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen(["/usr/bin/python3", "-s", "-c", SEPARATE], env=environment, stdin=subprocess.PIPE,
                                              stdout=subprocess.PIPE))  # fmt: skip
        for process in processes:
            if process.stdout.readline() != b"ready\n":
                print("bench_memory: /usr/bin/python3 has no numpy", file=sys.stderr)
                sys.exit(SKIP)
        return sum(pss_kib(process.pid) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", nargs="?", help="JSON lines go there")
    parser.add_argument("--instances", type=int, default=200)
    options = parser.parse_args()
    if os.geteuid():
        print("bench_memory: needs root, for network namespaces and BPF", file=sys.stderr)
        return SKIP
    if not 1 <= options.instances <= 1000:
        parser.error("--instances must be from 1 to 1000")
    floor = separate(options.instances)
    ours = instances(options.instances)
    each, each_floor = ours / options.instances, floor / options.instances
    print("\nMemory by fair share, %d idle processes of Python with numpy, KiB each" % options.instances)
    print("  separate processes (floor)                     %10.0f" % each_floor)
    print("  instances, zygote and sandboxes included       %10.0f    ratio %.3f" % (each, ours / floor))
    if options.output:
        with open(options.output, "a") as file:
            json.dump({"name": "zygote_pss", "value": round(each, 1), "unit": "KiB", "floor": round(each_floor, 1),
                       "ratio": round(ours / floor, 4), "runs": 1, "instances": options.instances}, file)  # fmt: skip
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
