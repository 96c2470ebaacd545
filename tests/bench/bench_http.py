#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Group `http`: a no-op over HTTP keep-alive, client, gateway and node on one CPU, over nginx `return 200` there in the same run.

A round visits nginx and the gateway, one after the other and each first in turn: one connection that asks and waits (p50 of each), and
16 connections (requests a second). Ratios are taken within a round. wrk is the client: it costs both sides the same.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from ratios import figure

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import gateway  # noqa: E402
import harness  # noqa: E402

SKIP = 77
UNITS = {"us": 1, "ms": 1000, "s": 1000000}
NGINX = """
daemon off; worker_processes 1; pid %(folder)s/pid; error_log %(folder)s/error.log;
events { worker_connections 256; }
http {
    access_log off; keepalive_requests 1000000000; client_body_temp_path %(folder)s/b; proxy_temp_path %(folder)s/p;
    fastcgi_temp_path %(folder)s/f; uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
    server { listen 127.0.0.1:%(port)d; location / { return 200 "0"; } }
}
"""


def free_port():
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wrk(cpu, url, connections, seconds):
    """(p50 in us, requests a second). Everything must have been answered with 200."""
    done = subprocess.run(["taskset", "-c", str(cpu), "wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--latency", url],
                          stdout=subprocess.PIPE, text=True, timeout=seconds + 60, check=True).stdout  # fmt: skip
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit("bench_http: %s: not every request was answered with 200:\n%s" % (url, done))
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", done).groups()
    return float(value) * UNITS[unit], float(re.search(r"Requests/sec:\s+([\d.]+)", done).group(1))


def measure(options, cpu, urls):
    """By URL: the rounds' p50 of one connection, and requests a second of 16."""
    single, many = {url: [] for url in urls}, {url: [] for url in urls}
    for url in urls:
        wrk(cpu, url, 1, 1)
    for number in range(options.rounds):
        for url in urls[number % len(urls):] + urls[:number % len(urls)]:
            single[url].append(wrk(cpu, url, 1, options.seconds)[0])
            many[url].append(wrk(cpu, url, 16, options.seconds)[1])
    return single, many


def run(options, folder, cpu):
    port = free_port()
    with open(os.path.join(folder, "nginx.conf"), "w") as file:
        file.write(NGINX % {"folder": folder, "port": port})
    node = harness.Node("http", "--cores", str(cpu), "--allow-trusted")
    server = one = None
    try:
        node.up()
        facts = node.status()["node"]
        example = os.path.join(harness.BUILD, "examples", "native", "noop")
        node.cli("deploy", example, "--name", "noop")
        node.cli("deploy", example, "--name", "noop-trusted", "--trusted")
        server = subprocess.Popen(["taskset", "-c", str(cpu), shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", folder,
                                   "-c", os.path.join(folder, "nginx.conf")], stdin=subprocess.DEVNULL)  # fmt: skip
        os.sched_setaffinity(0, {cpu})  # the gateway inherits it
        one = gateway.Gateway(node)
        nginx, process, trusted = "http://127.0.0.1:%d/" % port, one.url + "/function/noop", one.url + "/function/noop-trusted"
        harness.wait_until(lambda: subprocess.run(["curl", "-sf", nginx], stdout=subprocess.DEVNULL).returncode == 0, "nginx serves")
        single, many = measure(options, cpu, [nginx, process, trusted])
    finally:
        if one:
            one.close()
        if server:
            server.terminate()
            server.wait()
        node.close()
    more = {key: facts[key] for key in ("datapath", "xdp_mode", "af_xdp", "scheduler", "kernel")}
    return [figure("http_noop_p50", "us", single[process], single[nginx], more),
            figure("http_noop_trusted_p50", "us", single[trusted], single[nginx], more),
            figure("http_throughput_16", "1/s", many[process], many[nginx], more)]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", nargs="?", help="JSON lines go there")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=int, default=1, help="of each visit")
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 1000 or not 1 <= options.seconds <= 60:
        parser.error("--rounds must be from 1 to 1000, --seconds from 1 to 60")
    options.rounds = 3 if options.quick else options.rounds
    missing = [tool for tool in ("wrk", "nginx", "taskset", "curl") if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin")]
    if os.geteuid() or missing:
        print("bench_http: needs root%s" % ("" if not missing else ", and " + ", ".join(missing)), file=sys.stderr)
        return SKIP
    with tempfile.TemporaryDirectory(prefix="warmcore-bench-http-") as folder:
        os.chmod(folder, 0o755)
        figures = run(options, folder, min(os.sched_getaffinity(0)))
    print("\nA no-op over HTTP keep-alive, all on one CPU                gateway      nginx   x nginx   spread   lowest..highest")
    for each, text in zip(figures, ("one connection, p50, us", "the same, inside the agent (trusted)", "16 connections, requests a second")):
        print("  %-50s %12.1f %12.1f %8.3f %8.3f   %.2f..%.2f" % (text, each["value"], each["floor"], each["ratio"], each["spread"],
                                                                 each["ratio_min"], each["ratio_max"]))  # fmt: skip
    if options.output:
        with open(options.output, "a") as file:
            for each in figures:
                file.write(json.dumps(each) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
