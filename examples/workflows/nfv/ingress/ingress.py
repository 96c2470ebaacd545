# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Where packets come in: divides a capture among queues, as a network card does among its receive queues, and puts together what comes out.

Event: a line of JSON {"queues": 1 to 64, "batch": packets, 1 to 4096}, then a pcap file of Ethernet frames. Result: a line of JSON {"packets",
"passed", "dropped": {reason: packets}, "mappings", "flows": [[protocol, source, port, target, port, packets, bytes], ...]}, then a pcap file of
the packets that have passed, as the last function has left them, in the order of the capture.

All packets of an inside host are in one queue, and what comes back to a port of that queue's NAT is as well: so nothing of a queue concerns
another, and queues run at the same time.
"""

import collections
import ipaddress
import json
import os
import struct

import warmcore

MAGIC = 0x31464E57
HEAD, PACKET, FLOW = struct.Struct("<7I"), struct.Struct("<IHH"), struct.Struct("<IIIHHQQ")
ADDRESSES = struct.Struct(">II")
VERDICTS = ("pass", "malformed", "denied", "expired", "fragment", "protocol", "no port", "no mapping")
PORT_FIRST, PORTS = 1024, 65536 - 1024
FRAME_MAX = 65535
INTERNAL = ipaddress.ip_network(os.environ["INTERNAL"])
EXTERNAL = int(ipaddress.ip_address(os.environ["EXTERNAL"]))
NETWORK, MASK = int(INTERNAL.network_address), int(INTERNAL.netmask)


def frames(pcap):
    """(header of 16 bytes, frame) of each packet."""
    order = {b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">", b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<"}.get(pcap[:4])
    if order is None or len(pcap) < 24:
        raise ValueError("this is no pcap file")
    if struct.unpack_from(order + "I", pcap, 20)[0] & 0xFFFFFFF != 1:
        raise ValueError("the frames of this pcap file are not Ethernet's")
    lengths, at = struct.Struct(order + "II"), 24
    while at < len(pcap):
        if len(pcap) - at < 16:
            raise ValueError("the pcap file is cut off at byte %d" % at)
        captured, _ = lengths.unpack_from(pcap, at + 8)
        if captured > FRAME_MAX or captured > len(pcap) - at - 16:
            raise ValueError("the pcap file is cut off, or damaged, at byte %d" % at)
        yield pcap[at : at + 16], pcap[at + 16 : at + 16 + captured]
        at += 16 + captured


def queue_of(frame, queues):
    """Damaged ones go anywhere: the firewall looks at them."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return 0
    source, target = ADDRESSES.unpack_from(frame, 26)
    if source & MASK == NETWORK or target != EXTERNAL:
        return (source * 0x9E3779B1 >> 16 & 0xFFFF) % queues
    at = 14 + (frame[14] & 15) * 4 + (4 if frame[23] == 1 else 2)
    port = int.from_bytes(frame[at : at + 2], "big")
    return min(max(port - PORT_FIRST, 0) // (PORTS // queues), queues - 1)


def handler(event, context):
    end = event.index(b"\n") + 1
    order = json.loads(event[:end])
    queues, size = order.get("queues", 4), order.get("batch", 64)
    if not 1 <= queues <= 64 or not 1 <= size <= 4096:
        raise ValueError("queues is 1 to 64, batch 1 to 4096")
    pcap = event[end:]
    headers, parts = [], [[] for _ in range(queues)]
    for number, (header, frame) in enumerate(frames(pcap)):
        headers.append(header)
        parts[queue_of(frame, queues)].append(PACKET.pack(number, len(frame), 0) + frame)

    def jobs():
        for queue, part in enumerate(parts):
            packets = b"".join(part)
            yield HEAD.pack(MAGIC, queue, queues, len(part), len(packets), 4, 0) + packets + struct.pack("<I", size)

    result, passed, mappings = [b""] * len(headers), 0, 0
    dropped, flows = collections.Counter(), collections.defaultdict(lambda: [0, 0])
    for answer in warmcore.map("nfv-queue", jobs()):
        _, _, _, count, length, state_length, flow_length = HEAD.unpack_from(answer)
        at = HEAD.size
        for _ in range(count):
            number, frame_length, verdict = PACKET.unpack_from(answer, at)
            at += PACKET.size
            if verdict:
                dropped[VERDICTS[verdict]] += 1
            else:
                passed += 1
                result[number] = headers[number] + answer[at : at + frame_length]
            at += frame_length
        mappings += state_length // 8
        for protocol, source, target, source_port, target_port, packets, octets in FLOW.iter_unpack(answer[len(answer) - flow_length :]):
            flow = flows[protocol, str(ipaddress.ip_address(source)), source_port, str(ipaddress.ip_address(target)), target_port]
            flow[0] += packets
            flow[1] += octets
    told = {"packets": len(headers), "passed": passed, "dropped": dropped, "mappings": mappings, "flows": [[*key, *flow] for key, flow in flows.items()]}
    return json.dumps(told).encode() + b"\n" + pcap[:24] + b"".join(result)
