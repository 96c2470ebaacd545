# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Takes the packets of one queue through the chain, batch by batch, in their order.

Event: a batch of ../batch.h in which all the packets are; its state says how many are to be in a batch (uint32). Result: the same, with what
the chain has made of each packet, the NAT's last state and what was counted.
"""

import os
import struct

import warmcore

HEAD, PACKET = struct.Struct("<7I"), struct.Struct("<IHH")
FIRST = os.environ["FIRST"]


def handler(event, context):
    magic, queue, queues, count, length, _, _ = HEAD.unpack_from(event)
    (size,) = struct.unpack_from("<I", event, HEAD.size + length)
    at, out, state, flows = HEAD.size, [], b"", b""
    for first in range(0, count, size):
        begin, here = at, min(size, count - first)
        for _ in range(here):
            at += PACKET.size + PACKET.unpack_from(event, at)[1]
        head = HEAD.pack(magic, queue, queues, here, at - begin, len(state), len(flows))
        answer = warmcore.invoke(FIRST, b"".join((head, event[begin:at], state, flows)))
        *_, length, state_length, flow_length = HEAD.unpack_from(answer)
        end = HEAD.size + length
        out.append(answer[HEAD.size : end])
        state, flows = answer[end : end + state_length], answer[end + state_length :]
    packets = b"".join(out)
    return HEAD.pack(magic, queue, queues, count, len(packets), len(state), len(flows)) + packets + state + flows
