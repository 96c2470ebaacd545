#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `chain`: a megabyte through a chain of five C functions, each of which passes it on and its result back, over the same five called one
after the other through the gateway, with the megabyte in the body each time. All cores of the machine, one client.

A round visits both, each first in turn; ratios are taken within a round. The chain is begun by a Python function that has the megabyte already, and
whose own time counts.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import time
import urllib.parse

from ratios import figure

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import gateway  # noqa: E402
import harness  # noqa: E402

SKIP = 77
SIZE = 1 << 20
HOPS = 5
BEGIN = b"""
import warmcore
DATA = bytes(i * 7 & 255 for i in range(256)) * %d
def handler(event, context):
    return warmcore.invoke("hop1", b"".join([b"hop%%d\\n" %% i for i in range(2, %d + 1)]) + b"\\n" + DATA) == DATA
""" % (SIZE // 256, HOPS)
DATA = bytes(i * 7 & 255 for i in range(256)) * (SIZE // 256)


def by_gateway(link):
    data = DATA
    for hop in range(1, HOPS + 1):
        link.request("POST", "/function/hop%d" % hop, b"\n" + data)
        answer = link.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit("bench_chain: the gateway answers %d: %s" % (answer.status, data[:200]))
    if data != DATA:
        raise SystemExit("bench_chain: not what was sent has come back")


def by_calls(link):
    link.request("POST", "/function/begin", b"{}")
    answer = link.getresponse()
    data = answer.read()
    if (answer.status, data) != (200, b"true"):
        raise SystemExit("bench_chain: the chain answers %d: %s" % (answer.status, data[:200]))


def run(options):
    node, one, link = harness.Node("chain"), None, None
    try:
        node.up()
        facts = node.status()["node"]
        for hop in range(1, HOPS + 1):
            node.deploy("hop%d" % hop, "native", "pass.so", {"pass.so": harness.native_function("pass")}, event="binary")
        node.deploy("begin", "python", "begin.handler", {"begin.py": BEGIN})
        one = gateway.Gateway(node)
        link = http.client.HTTPConnection(urllib.parse.urlsplit(one.url).netloc, timeout=60)
        ways, times = [by_calls, by_gateway], {by_calls: [], by_gateway: []}
        for way in ways:
            for _ in range(3):
                way(link)
        for number in range(options.rounds):
            for way in ways[number % 2:] + ways[:number % 2]:
                took = []
                for _ in range(options.block):
                    begun = time.perf_counter()
                    way(link)
                    took.append((time.perf_counter() - begun) * 1000)
                times[way].append(statistics.median(took))
    finally:
        if link:
            link.close()
        if one:
            one.close()
        node.close()
    return figure("chain_1mb", "ms", times[by_calls], times[by_gateway],
                  {key: facts[key] for key in ("datapath", "xdp_mode", "af_xdp", "scheduler", "kernel")}, digits=3)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", nargs="?", help="JSON lines go there")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--block", type=int, default=20, help="chains of a visit")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 5")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 1000 or not 1 <= options.block <= 1000:
        parser.error("--rounds and --block must be from 1 to 1000")
    if options.quick:
        options.rounds, options.block = 3, 5
    if os.geteuid():
        print("bench_chain: needs root, for network namespaces and BPF", file=sys.stderr)
        return SKIP
    each = run(options)
    print("\n1 MiB through five functions, ms                 calls    gateway  x gateway   spread   lowest..highest")
    print("  %-40s %10.2f %10.2f %10.3f %8.3f   %.2f..%.2f" % ("p50", each["value"], each["floor"], each["ratio"], each["spread"],
                                                             each["ratio_min"], each["ratio_max"]))  # fmt: skip
    if options.output:
        with open(options.output, "a") as file:
            file.write(json.dumps(each) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
