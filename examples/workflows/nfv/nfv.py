#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Sends the packets of a capture through a chain of network functions on a node: firewall, NAT, load balancer, monitor.

    tcpdump -i eth0 -w in.pcap
    build/examples/workflows/nfv/nfv.py in.pcap out.pcap

What the chain does is in the functions' folders: firewall/rules.txt, and the environments in nat/function.json and balance/function.json.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import client  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
FUNCTIONS = ("monitor", "balance", "nat", "firewall", "queue", "ingress")


def main():
    options = client.parser(__doc__)
    options.add_argument("input", help="a pcap file (not pcapng) of Ethernet frames, up to 6 MB")
    options.add_argument("output", help="the packets that have passed, as they have left the chain")
    options.add_argument("--queues", type=int, default=4, help="that run at the same time (4; 1 to 64)")
    options.add_argument("--batch", type=int, default=64, help="packets that a function gets in one call (64; 1 to 4096)")
    options.add_argument("--flows", action="store_true", help="print what the monitor has counted")
    args = options.parse_args()
    node = client.Node(args.node, args.warmcore)
    node.deploy(*(os.path.join(HERE, name) for name in FUNCTIONS))
    with open(args.input, "rb") as file:
        capture = file.read()
    order = json.dumps({"queues": args.queues, "batch": args.batch}).encode() + b"\n"
    seconds, answer = client.timed(node.invoke, "nfv", order + capture, args.seconds)
    line, capture = answer.split(b"\n", 1)
    told = json.loads(line)
    with open(args.output, "wb") as file:
        file.write(capture)
    print("%d packets, %d passed, %s; %d mappings, %d flows; %.3f s, %.1f us a packet"
          % (told["packets"], told["passed"], ", ".join("%d %s" % (n, why) for why, n in sorted(told["dropped"].items())) or "none dropped",
             told["mappings"], len(told["flows"]), seconds, 1e6 * seconds / max(told["packets"], 1)))  # fmt: skip
    for flow in sorted(told["flows"], key=lambda flow: -flow[6]) if args.flows else ():
        print("%3d  %15s:%-5d > %15s:%-5d  %7d packets %10d bytes" % tuple(flow))


client.main(main)
