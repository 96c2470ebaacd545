#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A part of group `cluster`: the scheduler that leads a cluster is killed (kill -9) while six invocations are under way at any time, again and again: how long until the next invocation that
was begun after that is answered, from the moment of the kill. Two schedulers and two nodes, each a network namespace behind a bridge, and an etcd. A client that has no answer
sends again after 20 ms. Beside it the same without a kill, in the same run.

And what must not be: an id that has run twice, an answer of another kind than a result or NODE_LOST, or none.
"""

import collections
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import failover  # noqa: E402
import harness  # noqa: E402
import wcproto  # noqa: E402



class Kills(failover.FailoverTest):
    def runTest(self):
        pass

    def stream(self, client, name, act):
        """A hundred invocations; act() after the first thirty. Returns the ms until the first answer to one that was sent first after act(), and all answers."""
        waiting = collections.OrderedDict()
        tags, answers, first, acted, end = iter("%s-%d" % (name, i) for i in range(100)), {}, None, None, time.monotonic() + harness.PATIENCE_S
        tags_left = True
        while (waiting or tags_left) and time.monotonic() < end:
            while tags_left and len(waiting) < 6:
                tag = next(tags, None)
                tags_left = tag is not None
                if tags_left:
                    waiting[client.fresh_id()] = [tag, 0.0, acted]  # tag, last sent, begun after the kill
            now = time.monotonic()
            for request, each in waiting.items():
                if now - each[1] > 0.02:
                    each[1] = now
                    client.send(request, self.function, json.dumps({"do": "count", "tag": each[0], "sleep_ms": 5}).encode())
            answer = client.receive(0.005)
            if answer and answer.request_id in waiting and answer.kind != wcproto.BUSY:
                tag, _, after = waiting.pop(answer.request_id)
                answers[tag] = answer
                if after and first is None and answer.kind == wcproto.REPLY:
                    first = time.monotonic() - acted
            if acted is None and len(answers) >= 30:
                acted = time.monotonic()
                act()
                waiting[client.fresh_id()] = ["%s-probe" % name, 0.0, acted]
        if waiting:
            raise SystemExit("kills: %d invocations were not answered" % len(waiting))
        return first * 1000, answers


def run(rounds):
    """The figure failover_ms, of so many kills."""
    kills, floors, lost, calls = [], [], 0, 0
    test = Kills()
    test.setUp()
    try:
        with test.client() as client:
            for number in range(rounds):
                floor, answers = test.stream(client, "floor-%d" % number, lambda: None)
                floors.append(floor)
                leader = test.leader()
                ms, more = test.stream(client, "kill-%d" % number, leader.kill9)
                kills.append(ms)
                answers.update(more)
                calls += len(answers)
                lost += sum(test.check_history(answers, (wcproto.NODE_LOST,)).values())
                if sys.stderr.isatty():
                    print("\r%d of %d kills, this one %.0f ms " % (number + 1, rounds, ms), end="", file=sys.stderr)
                test.start_scheduler(leader)
                test.wait_in()
        if sys.stderr.isatty():
            print("\r%60s\r" % "", end="", file=sys.stderr)
    finally:
        test.doCleanups()
    kills.sort()
    result = {"name": "failover_ms", "value": round(statistics.median(kills), 1), "unit": "ms", "max": round(kills[-1], 1), "floor": round(statistics.median(floors), 1), "runs": len(kills),
              "calls": calls, "lost": lost, "within_500_ms": sum(each <= 500 for each in kills)}  # fmt: skip
    print("\nThe scheduler that leads is killed %d times, under load: ms until an invocation that begins then is answered" % len(kills))
    print("  median %.1f   90th of 100 %.1f   longest %.1f   within 500 ms: %d   without a kill %.1f"
          % (result["value"], kills[int(0.9 * (len(kills) - 1))], result["max"], result["within_500_ms"], result["floor"]))  # fmt: skip
    print("  %d invocations: each answered, none run twice, %d told NODE_LOST" % (calls, lost))
    return result


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 10)))
