#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_cli_errors.sh - the command line against a fake daemon: what users see when things are right, and when not.
#
# Copies the program into a folder of its own beside a fake `warmcored` (a Python script with a control socket and a UDP
# node), so that every answer, good and bad, can be had without a kernel that fails on request.
# WARMCORE=PATH names the program to test (default build/bin/warmcore). Exit status 77 = skipped.
set -u

here=$(cd "$(dirname "$0")/../.." && pwd)
warmcore=${WARMCORE:-${WARMCORE_BUILD:-$here/build}/bin/warmcore}
node=clitest$((RANDOM % 1000))
failures=0
count=0

skip() { echo "SKIP test_cli_errors: $1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root for /run/warmcore"
command -v python3 >/dev/null || skip "needs python3"
[ -x "$warmcore" ] || { echo "test_cli_errors: $warmcore is not built"; exit 1; }

tmp=$(mktemp -d)
teardown() {
	"$tmp/warmcore" --node "$node" down --force --timeout 2 >/dev/null 2>&1
	rm -rf "$tmp" "/run/warmcore/$node"
	rmdir /run/warmcore 2>/dev/null
}
trap teardown EXIT
cp "$warmcore" "$tmp/warmcore"

cat >"$tmp/warmcored" <<'PYTHON'
#!/usr/bin/env python3
"""A fake warmcored: FAKE says how it behaves."""
import json, os, shutil, signal, socket, struct, sys, threading, time

args = sys.argv[1:]
name = args[args.index("--name") + 1]
run = f"/run/warmcore/{name}"
mode = os.environ.get("FAKE", "ready")
HEADER = struct.Struct(">HBBBBHQIIIHH16s")
LIMITS = {"concurrency": 2, "reserved": 1, "priority": 3}
functions = {n: i + 0x1001 for i, n in enumerate(["echo", "fail", "busy", "silent", "binary", "text"])}
begun = {}


def ready(line):
    os.write(int(os.environ["WARMCORE_READY_FD"]), line.encode())


if "--clean" in args:
    shutil.rmtree(run, ignore_errors=True)
    print("removed 1")
    sys.exit(int(os.environ.get("FAKE_CLEAN", "0")))
if "--print" in args:
    values = dict(zip(args, args[1:]))
    knobs = [{"name": "state-dir", "value": values.get("--state-dir", "/var/lib/warmcore/" + values["--name"])},
             {"name": "datapath", "value": values.get("--datapath", "kernel")}, {"name": "log", "value": None}]
    print(json.dumps({"program": "warmcored", "file": None, "knobs": knobs}))
    sys.exit(0)
print("fake daemon starts with", " ".join(args), file=sys.stderr, flush=True)
if mode == "error":
    ready("ERROR=eth9 has no such mood\n")
    sys.exit(1)
if mode == "die":
    print("out of cheese", file=sys.stderr, flush=True)
    sys.exit(3)
if mode == "killed":
    os.kill(os.getpid(), signal.SIGSEGV)
if mode == "hang":
    time.sleep(60)

os.makedirs(run, exist_ok=True)
control = socket.socket(socket.AF_UNIX)
control.bind(run + "/control.sock")
control.listen(8)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))


def answer(packet, client, kind, code, payload=b"", flags=0, tail=b""):
    m, v, t, h, r, f, rid, fid, plen, dl, core, c, tl = HEADER.unpack(packet[:48])
    udp.sendto(HEADER.pack(m, v, kind, h, 0, flags, rid, fid, len(payload), 0,
                           0xffff if kind == 4 else 1, code, tail.ljust(16, b"\0")) + payload, client)


def serve_udp():
    while True:
        packet, client = udp.recvfrom(65536)
        fid = HEADER.unpack(packet[:48])[7]
        which = {v: k for k, v in functions.items()}.get(fid)
        warm = 1 if begun.get(fid) else 0
        begun[fid] = True
        tail = struct.pack(">QQ", 1500, 2500)
        if which == "echo":
            answer(packet, client, 2, 0, packet[48:], warm, tail)
        elif which == "text":
            answer(packet, client, 2, 0, b'"hello"', warm, tail)
        elif which == "fail":
            answer(packet, client, 3, 5, b'{"errorType":"ValueError","errorMessage":"no good"}', warm, tail)
        elif which == "busy":
            answer(packet, client, 4, 11, b"", 0, struct.pack(">QQ", 200_000_000, 0))
        elif which == "binary":
            answer(packet, client, 2, 0, bytes(range(256)), 8 | warm, tail)


threading.Thread(target=serve_udp, daemon=True).start()


def describe(n):
    return {"name": n, "id": functions[n], "runtime": "python", "handler": n + ".handler",
            "event": "binary" if n == "binary" else "json", "timeout_ms": 100, "memory_mb": 128, "trusted": False,
            "instances": 1, "invocations": 0, "errors": 0, "cold_starts": 0, "deployed_at": "2026-01-01T00:00:00Z"}


def handle(request):
    op = request["op"]
    if op == "ping":
        return {"version": "9.9.9", "pid": os.getpid()}
    if op == "status":
        return {"node": {"name": name, "pid": os.getpid(), "version": "9.9.9", "uptime_s": 3700, "datapath": "user",
                         "device": "", "netns": "", "xdp_mode": "none", "af_xdp": "none", "scheduler": "affinity",
                         "address4": "127.0.0.1", "address6": "", "port": 1, "mtu": 1500, "kernel": "6.1", "pin_dir": ""},
                "cores": [{"core": 0, "cpu": 0, "shard": 0, "state": "free", "function": "", "warm": ["echo", "text"],
                           "claims": 5, "releases": 5}],
                "shards": [{"shard": 0, "queue": 0, "cores": 1, "free": 1}], "pending": {"now": 0, "max": 64},
                "counters": {"rx": 5, "to_core": 5, "drop_short": 0}}
    if op == "list":
        return {"functions": [describe(n) for n in functions]}
    if op in ("resolve", "remove", "logs", "limit", "evict") and request.get("name", op) not in (*functions, "evict"):
        return {"ok": False, "error": "no function '%s' is deployed" % request["name"], "code": "not-found"}
    if op in ("set", "limit"):
        with open(run + "/asked", "w") as out:
            json.dump(request, out, sort_keys=True)
    if op == "set":
        if request["knobs"].get("policy") == "rss":
            return {"ok": False, "error": "functions have reserved cores", "code": "bad-request"}
        policy = {"policy": "central", "binding": "late", "order": "local", "prefer": "warm"}
        policy.update(request["knobs"])
        return dict(handle({"op": "status"}), policy=policy)
    if op == "limit":
        return {"function": dict(describe(request["name"]), **LIMITS, **{"queue": request.get("queue", 0)})}
    if op == "resolve":
        return {"function": describe(request["name"]), "address4": "127.0.0.1", "address6": "",
                "port": udp.getsockname()[1], "payload_max": 61440}
    if op == "evict":
        return {"stopped": 2}
    if op == "remove":
        return {"removed": request["name"]}
    if op == "logs":
        with open(run + "/log") as log:
            return {"path": run + "/log", "text": log.read()}
    if op == "deploy":
        with open(run + "/deployed", "w") as out:
            json.dump(request, out, sort_keys=True)
        functions.setdefault(request["name"], 0x1050)
        return {"function": describe(request["name"]), "replaced": False}
    if op in ("versions", "rollback") and request["name"] not in functions:
        return {"ok": False, "error": "no function '%s' is deployed" % request["name"], "code": "not-found"}
    if op == "versions":
        version = {"current": True, "deployed_at": "2026-01-01T00:00:00Z", "files": 2, "bytes": 77, "runtime": "python",
                   "code_sha256": "0123456789abcdef" * 4}
        return {"versions": [dict(version, version=7), dict(version, version=5, current=False)]}
    if op in ("publish", "alias", "published", "concurrency"):
        if request["name"] not in functions:
            return {"ok": False, "error": "no function '%s' is deployed" % request["name"], "code": "not-found"}
        with open(run + "/asked", "w") as out:
            json.dump(request, out, sort_keys=True)
        alias = {"name": "prod", "version": "3", "weights": {"4": 0.25}, "provisioned": 2, "description": "live", "revision": "x"}
        return {"concurrency": {"concurrency": {"reserved": request.get("reserved")}},
                "publish": {"version": 4, "unchanged": request.get("description") is None},
                "alias": {"aliases": [alias]} if request.get("action") == "list" else {"alias": alias, "created": True, "removed": "prod"},
                "published": {"versions": [dict(describe("echo"), qualifier="$LATEST"),
                                           dict(describe("echo"), qualifier="3", published_at="2026-01-01T00:00:00Z")]}}[op]
    if op == "code" and request["name"] not in functions:
        return {"ok": False, "error": "no function '%s' is deployed" % request["name"], "code": "not-found"}
    if op == "code":
        with open(run + "/asked", "w") as out:
            json.dump(request, out, sort_keys=True)
        return {"function": describe(request["name"]), "exact": request["name"] != "text",
                "archive": {"sha256": "0123456789abcdef" * 4, "size": 22, "files": 3, "bytes": 7}}
    if op == "rollback":
        with open(run + "/asked", "w") as out:
            json.dump(request, out, sort_keys=True)
        return {"function": dict(describe(request["name"]), version=request.get("version", 5)), "from": 7}
    if op == "check":
        return {"problems": ["core 3 is claimed by nobody"] if mode == "unsound" else []}
    if op == "stop":
        return {"stopping": True}


with open(run + "/log", "w") as log:
    log.write("one\ntwo\n")
ready("READY=1\n")
while True:
    connection, _ = control.accept()
    line = connection.makefile("rb").readline()
    request = json.loads(line)
    reply = {"ok": True}
    reply.update(handle(request))
    if request["op"] == "code" and reply["ok"] and request["name"] != "fail":
        with open(run + "/archive", "wb") as out:  # of nothing, or none
            out.write(b"no archive" if request["name"] == "binary" else b"PK\5\6" + bytes(18))
        with open(run + "/archive", "rb") as archive:
            socket.send_fds(connection, [json.dumps(reply).encode() + b"\n"], [archive.fileno()])
        connection.close()
        continue
    connection.sendall(b"half an ans" if mode == "cut" and request["op"] == "list" else
                       json.dumps(reply).encode() + b"\n")
    connection.close()
    if request["op"] == "stop" and mode != "stubborn":
        if mode != "messy":
            shutil.rmtree(run)
        sys.exit(0)
PYTHON
chmod +x "$tmp/warmcored"

fail() {
	failures=$((failures + 1))
	printf 'FAILED: %s\n' "$1"
	sed 's/^/    stdout: /' "$tmp/out"
	sed 's/^/    stderr: /' "$tmp/err"
}

# expect STATUS STDOUT-PATTERN STDERR-PATTERN -- ARGUMENTS: patterns are extended regular expressions, "" = anything
expect() {
	local status=$1 out=$2 err=$3 got
	shift 4
	count=$((count + 1))
	"$tmp/warmcore" --node "$node" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	got=$?
	[ "$got" = "$status" ] || { fail "warmcore $*: exit status $got instead of $status"; return; }
	[ -z "$out" ] || grep -qE -- "$out" "$tmp/out" || fail "warmcore $*: standard output lacks $out"
	[ -z "$err" ] || grep -qE -- "$err" "$tmp/err" || fail "warmcore $*: standard error lacks $err"
}

up() { FAKE=$1 "$tmp/warmcore" --node "$node" up --state-dir "$tmp/state" >/dev/null || { echo "FAILED: up $1"; failures=$((failures + 1)); }; }
down() { "$tmp/warmcore" --node "$node" down >/dev/null || { echo "FAILED: down"; failures=$((failures + 1)); }; }

# --- the command line itself
expect 2 '' "unknown command 'stauts'; did you mean 'status'" -- stauts
expect 2 '' "unknown option --prot; did you mean --port" -- up --prot 1
expect 2 '' "port: 65536 is out of range, 1 to 65535" -- up --port 65536
expect 2 '' "port: '1x' is not a whole number" -- up --port 1x
expect 2 '' "'fast' is not one of kernel\|user" -- up --datapath fast
expect 2 '' "is not a list of CPUs" -- up --cores 0-1-2
expect 2 '' "is not a list of CPUs" -- up --cores 1,,2
expect 2 '' "is neither auto nor" -- up --poll-us soon
expect 2 '' "for --datapath kernel" -- up --datapath user --dev eth0
expect 2 '' "an argument is missing" -- invoke
expect 2 '' "unexpected argument 'b'" -- deploy a b
expect 2 '' "keep-versions: 17 is out of range, 1 to 16" -- up --keep-versions 17
expect 2 '' "keep-alive-save-s: 86401 is out of range, 0 to 86400" -- up --keep-alive-save-s 86401
expect 2 '' "an argument is missing" -- versions
expect 2 '' "an argument is missing" -- rollback
for version in 0 -1 +1 1x 4294967296 '' two; do
	expect 2 '' "is not the number of a version|unknown option" -- rollback echo "$version"
done
expect 2 '' "is not a node name" -- --node ../etc status
expect 2 '' "is not a node name" -- --node sixteen_letters_ status
expect 2 '"code":"usage"' '' -- --json up --port x

# --- the knobs of scheduling, which `up` and `set` share, and limits of functions
for command in up set; do
	expect 2 '' "policy: 'paper' is none of central\|ll_ps\|jsq2\|random\|hash\|rss\|pack" -- $command --policy paper
	for policy in '' entral 'central|ll_ps' central,pack CENTRAL central. '|' 'central '; do
		expect 2 '' "is none of central" -- $command --policy "$policy"
	done
	expect 2 '' "order: 'random' is not one of local\|pack\|spread" -- $command --order random
	expect 2 '' "prefer: 'core' is not one of warm\|shard" -- $command --prefer core
	expect 2 '' "move: 'yes' is not one of on\|off" -- $command --move yes
	expect 2 '' 'fair-at: 1000001 is out of range, 0 to 1000000' -- $command --fair-at 1000001
	expect 2 '' 'core-queue: 0 is out of range, 1 to 224' -- $command --core-queue 0
	expect 2 '' 'core-queue: 225 is out of range' -- $command --core-queue 225
	expect 2 '' 'pack-slots: 0 is out of range, 1 to 15' -- $command --pack-slots 0
	expect 2 '' 'pack-slots: 16 is out of range' -- $command --pack-slots 16
	expect 2 '' 'cores-min: 4097 is out of range, 0 to 4096' -- $command --cores-min 4097
	expect 2 '' "cores-min: '-1' is not|cores-min: -1 is out of range" -- $command --cores-min -1
	expect 2 '' 'idle-ms: 0 is out of range, 1 to 3600000' -- $command --idle-ms 0
	expect 2 '' "idle-ms: '1.5' is not a whole number" -- $command --idle-ms 1.5
	expect 2 '' "unknown option --polisy; did you mean --policy" -- $command --polisy hash
done
for cores in '*2' '0*' '0**2' '0*2*3' '0*2-3' '0-1*-2' '0*2,'; do
	expect 2 '' 'is not a list of CPUs' -- up --cores "$cores"
done
expect 2 '' 'nothing to set; give at least one option' -- set
expect 2 '"code":"usage"' '' -- --json set
expect 2 '' "unexpected argument 'hash'" -- set hash
expect 2 '' 'no limit to set' -- limit echo
expect 2 '"code":"usage"' '' -- --json limit echo
expect 2 '' 'an argument is missing' -- limit --queue 1
expect 2 '' "unexpected argument 'two'" -- limit one two --queue 1
expect 2 '' 'concurrency: 65537 is out of range, 0 to 65536' -- limit echo --concurrency 65537
expect 2 '' 'reserved: 4096 is out of range, 0 to 4095' -- limit echo --reserved 4096
expect 2 '' 'queue: 1000001 is out of range, 0 to 1000000' -- limit echo --queue 1000001
expect 2 '' 'priority: 8 is out of range, 0 to 7' -- limit echo --priority 8
expect 2 '' "priority: 'high' is not a whole number" -- limit echo --priority high
for command in up down status set deploy list remove versions rollback publish alias code evict limit invoke logs keys doctor version gateway config reload upgrade top metrics load trace async sim remote-key; do
	expect 0 "warmcore $command - " '' -- $command --help
	expect 0 'EXIT STATUS' '' -- help $command
done
expect 0 'protocol version 1' '' -- version

# --- the manual page and the completion know what --help knows
for command in up down status set deploy list remove versions rollback publish alias code evict limit invoke logs keys doctor version gateway config reload upgrade top metrics load trace async sim remote-key; do
	section=$command
	[ $command != set ] || section='\(set\|up\)' # it has the knobs of `up`, and says so
	for option in $("$tmp/warmcore" $command --help | sed -n 's/^        \(-[a-zA-Z], \)\{0,1\}--\([a-z-]*\).*/\2/p'); do
		sed -n "/^\.Ss $section/,/^\.S[sh] /p; /^Options that every/,/^\.Sh/p" "$here/docs/man/warmcore.1" |
			grep -q "Fl Fl $option\b" || fail "warmcore.1 lacks $command --$option"
	done
done
grep -q "COMPREPLY" "$here/tools/completion/warmcore.bash" || fail "no completion script"
completed=$(bash -c 'source "$1"; COMP_WORDS=("$2" up --da); COMP_CWORD=2; _warmcore; echo "${COMPREPLY[*]}"' - \
	"$here/tools/completion/warmcore.bash" "$tmp/warmcore")
[ "$completed" = --datapath ] || fail "completion of 'up --da' is '$completed'"
"$tmp/warmcore" keys create first --key-file "$tmp/keys.json" >"$tmp/secret" 2>&1 || fail "no key"
completed=$(bash -c 'source "$1"; COMP_WORDS=("$2" keys rotate --key-file "$3" f); COMP_CWORD=5; _warmcore; echo "${COMPREPLY[*]}"' - \
	"$here/tools/completion/warmcore.bash" "$tmp/warmcore" "$tmp/keys.json")
[ "$completed" = first ] || fail "completion of 'keys rotate' is '$completed'"

# --- no node
for command in status list 'remove f' 'invoke f {}' 'logs f' 'doctor --maps' 'evict' 'set --order pack' 'limit f --queue 1'; do
	# shellcheck disable=SC2086 # words, on purpose
	expect 1 '' "no node '$node' is running; start one with: warmcore --node $node up" -- $command
done
expect 1 '"ok":false' '' -- --json list
expect 0 'nothing to do' '' -- down

# --- daemons that do not come up
FAKE=error expect 1 '' '^warmcore up: eth9 has no such mood$' -- up --state-dir "$tmp/state"
[ "$(grep -c mood "$tmp/err")" = 1 ] || fail "the daemon's error is said more than once"
FAKE=die expect 1 '' 'exited with status 3 before it served' -- up --state-dir "$tmp/state"
grep -q 'out of cheese' "$tmp/err" || fail "the end of the daemon's log is not shown"
FAKE=killed expect 1 '' 'killed by signal 11' -- up --state-dir "$tmp/state"
FAKE=hang expect 1 '' 'did not serve within 1 s and was stopped' -- up --state-dir "$tmp/state" --timeout 1
expect 1 '' 'cannot make the state folder' -- up --state-dir /dev/null/state

# --- a node
FAKE=ready expect 0 'node '"$node"'  up 1 h 1 min' '' -- up --state-dir "$tmp/state" --port 999 --cores 0-1,1*3 --allow-trusted --keep-versions 5 --keep-alive-save-s 0 \
	--sched partial --isolate on --lend on --quantum-us 3 --sandbox off --share /srv:/opt --tmp-mb 5 \
	--policy pack --order spread --prefer shard --move off --fair-at 7 --core-queue 8 --pack-slots 9 --cores-min 1 --idle-ms 2 \
	--log-file-kib 64 --log-files 2 --log-total-mib 3 --log-rate-kib 0 --log-report on --log-format json --metrics-functions 9
grep -q -- "--name $node --cores 0-1,1\*3 --port 999 --sched partial --isolate on --sandbox off --share /srv:/opt --tmp-mb 5 --policy pack --order spread --prefer shard --move off --lend on --fair-at 7 --core-queue 8 --pack-slots 9 --cores-min 1 --idle-ms 2 --quantum-us 3 --keep-alive-save-s 0 --keep-versions 5 --allow-trusted --state-dir $tmp/state --log-file-kib 64 --log-files 2 --log-total-mib 3 --log-rate-kib 0 --log-report on --log-format json --metrics-functions 9 --log $tmp/state/daemon.log" \
	"$tmp/state/daemon.log" || fail "the daemon did not get its options"
expect 1 '' 'is already running \(pid [0-9]+\)' -- up --state-dir "$tmp/state"
expect 0 'echo text +5 +5' '' -- status
expect 0 'to_core +5 +given to a free core' '' -- status
expect 0 'drop_short +0' '' -- status --all
expect 0 '"to_core": ?5' '' -- --json status
expect 0 '^echo +python +echo.handler' '' -- list
expect 0 'runs warmcored 9.9.9' '' -- version
expect 0 '^removed echo$' '' -- remove echo
expect 1 '^removed text$' "no function 'nix' is deployed" -- remove nix text
expect 0 '^stopped 2 idle instances of all functions$' '' -- evict
expect 0 '^stopped 2 idle instances of binary$' '' -- evict binary
expect 1 '' "no function 'nix' is deployed" -- evict nix
expect 0 '^two$' '' -- logs echo
expect 1 '"code": ?"not-found"' '' -- --json logs nix
expect 0 'every invariant holds' '' -- doctor --maps

# --- turning knobs and setting limits
asked() { [ "$(cat "/run/warmcore/$node/asked")" = "$1" ] || fail "the daemon was asked $(cat "/run/warmcore/$node/asked")"; }
expect 0 '^policy hash \(late binding\), order pack, prefer warm$' '' -- set --policy hash --order pack
asked '{"knobs": {"order": "pack", "policy": "hash"}, "op": "set"}'
expect 0 '^policy ' '' -- set --prefer shard --move off --fair-at 0 --core-queue 224 --pack-slots 15 --cores-min 0 --idle-ms 1
asked '{"knobs": {"core_queue": 224, "cores_min": 0, "fair_at": 0, "idle_ms": 1, "move": "off", "pack_slots": 15, "prefer": "shard"}, "op": "set"}'
for policy in central ll_ps jsq2 random hash pack; do
	expect 0 "^policy $policy " '' -- set --policy $policy
done
expect 0 '"policy": ?"jsq2"' '' -- --json set --policy jsq2
expect 1 '' 'functions have reserved cores' -- set --policy rss
expect 1 '"code": ?"bad-request"' '' -- --json set --policy rss
expect 0 '^echo: concurrency 2, reserved 1, queue 5, priority 3, provisioned 0$' '' -- limit echo --queue 5
asked '{"name": "echo", "op": "limit", "queue": 5}'
expect 0 '"reserved": ?1' '' -- --json limit echo --concurrency 2 --reserved 1 --queue 0 --priority 7
asked '{"concurrency": 2, "name": "echo", "op": "limit", "priority": 7, "queue": 0, "reserved": 1}'
expect 1 '' "no function 'nix' is deployed" -- limit nix --priority 1
expect 1 '"code": ?"not-found"' '' -- --json limit nix --priority 1

# --- invocations
expect 0 '^\{"a":1\}$' '' -- invoke echo '{"a":1}'
expect 0 '^\{\}$' '' -- invoke echo
expect 0 '^-5$' '' -- invoke echo -5
expect 0 '' 'core 1, warm; waited 1.5 us, ran 2.5 us, round trip' -- invoke echo 1 --show
expect 1 '' 'takes JSON events, and the payload is none' -- invoke echo '{a:1}'
expect 1 '' "no function 'nix' is deployed" -- invoke nix
expect 3 '' 'fail: the function returned an error or raised an exception \(FUNCTION\)' -- invoke fail
grep -q '"errorType":"ValueError"' "$tmp/err" || fail "the function's error object is not shown"
expect 3 '"code_name":"FUNCTION"' '' -- --json invoke fail
expect 4 '' 'busy was not run: .*PENDING_FULL' -- invoke busy --timeout-ms 300
expect 4 '' 'no answer in the time allowed' -- invoke silent --timeout-ms 300
expect 2 '' 'given twice' -- invoke echo 1 --file /dev/null
expect 1 '' 'No such file' -- invoke echo --file "$tmp/nix"
expect 1 '' 'larger than the 61440 bytes' -- invoke binary --file "$tmp/warmcore"
expect 1 '' 'cannot run on CPU 1023' -- invoke echo --cpu 1023
expect 0 '' '' -- invoke binary x --output "$tmp/bytes"
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)))' | cmp -s - "$tmp/bytes" ||
	fail "--output is not the reply's bytes"
expect 0 '"payload_base64":"AAECAwQF' '' -- --json invoke binary x
expect 0 '"payload":\{"a":1\}\}$' '' -- --json invoke echo '{"a":1}'
expect 0 '^12345678901234567890$' '' -- invoke echo 12345678901234567890
expect 0 '"payload":\[12345678901234567890, 0.10\]\}$' '' -- --json invoke echo '[12345678901234567890, 0.10]'
expect 0 '"payload": ?\{ "a": 1 \} ?\}$' '' -- --json invoke echo $'{\n"a": 1\n}\n'
python3 -m json.tool "$tmp/out" >/dev/null 2>&1 || fail "invoke --json is not JSON"
expect 0 '^50 invocations of text in .* 50 replies$' '' -- invoke text --repeat 50
grep -qE '^  cold +round trip +1 ' "$tmp/out" || fail "no cold row"
grep -qE '^  warm +function +49 +2.5 +2.5 +2.5 +2.5$' "$tmp/out" || fail "no warm row"
grep -qE '^  cores:  1: 50 \(100.0 %\)$' "$tmp/out" || fail "no cores"
expect 0 '"replies":50,.*"cold":.*"count":0,.*"warm":.*"count":50,' '' -- --json invoke text --repeat 50
expect 3 '0 replies, 5 FUNCTION' '' -- invoke fail --repeat 5
echo '[1]' | "$tmp/warmcore" --node "$node" invoke echo - | grep -q '^\[1\]$' || fail "standard input is not the payload"
"$tmp/warmcore" --node "$node" list >/dev/full 2>"$tmp/err" && fail "a full disk is no error"

# --- logs that go on
: >"$tmp/follow"
"$tmp/warmcore" --node "$node" logs echo --lines 1 --follow >"$tmp/follow" &
follower=$!
for _ in $(seq 50); do grep -q two "$tmp/follow" && break; sleep 0.1; done
echo three >>"/run/warmcore/$node/log"
for _ in $(seq 50); do grep -q three "$tmp/follow" && break; sleep 0.1; done
kill $follower
wait $follower 2>/dev/null
[ "$(tr '\n' ' ' <"$tmp/follow")" = "two three " ] || fail "--follow printed: $(cat "$tmp/follow")"

# --- code
cd "$tmp" || exit 1
mkdir "$tmp/full"
touch "$tmp/full/something"
expect 2 '' 'an argument is missing' -- code
expect 2 '' "unexpected argument 'text'" -- code echo text
expect 2 '' 'output and --folder exclude each other' -- code echo -o x -d y
expect 2 '' 'force is for a FILE' -- code echo --folder x --force
expect 2 '' 'the name of the file is empty' -- code echo -o ''
expect 2 '' 'the name of the folder is empty' -- code echo -d ''
expect 2 '"code":"usage"' 'both want standard output' -- --json code echo -o -
expect 2 '' "'../echo' is not the name of a function" -- code ../echo
expect 2 '' "':1' is not the name of a function" -- code :1
expect 1 '' "no function 'nobody' is deployed" -- code nobody
expect 1 '"code":"not-found"' '' -- --json code nobody:3
expect 1 '' 'the node answered without an archive' -- code fail
[ -z "$(find . -name '*.zip*')" ] || fail "what failed left a file"
expect 0 '^wrote echo to echo.zip \(3 files, 22 bytes\)$' '' -- code echo
[ "$(stat -c '%s %a' echo.zip)" = '22 600' ] || fail "echo.zip is $(stat -c '%s %a' echo.zip)"
expect 1 '' 'echo.zip is there already; --force replaces it' -- code echo
expect 1 '"ok":false.*"code":"failed"' '' -- --json code echo
expect 0 'wrote echo:3' '' -- code echo:3 --force
asked '{"name": "echo", "op": "code", "qualifier": "3"}'
expect 0 '"output":"two.zip"' '' -- --json code echo -o two.zip
expect 0 'wrote text' 'not byte for byte what was deployed' -- code text
expect 1 '' 'full is there, and is not a file' -- code echo -o full -f
expect 1 '' 'cannot create none/x.zip: No such file' -- code echo -o none/x.zip
expect 1 '' 'full is not empty' -- code echo -d full
expect 1 '' 'echo.zip: Not a directory' -- code echo -d echo.zip
expect 1 '' 'cannot create none/x: No such file' -- code echo -d none/x
expect 1 '' 'new: this is not a sound zip archive' -- code binary -d new
[ ! -e new ] || fail "a folder that nothing came into is there"
expect 0 '^unpacked echo to new \(3 files, 7 bytes\)$' '' -- code echo -d new
expect 1 '' 'new: this is not a sound zip archive' -- code binary -d new
expect 0 '"folder":"new"' '' -- --json code echo -d new
[ "$("$tmp/warmcore" --node "$node" code echo -o - | wc -c)" = 22 ] || fail "an archive on standard output is not 22 bytes"
[ "$(find . -maxdepth 1 -name '*.zip*' | sort | tr '\n' ' ')" = './echo.zip ./text.zip ./two.zip ' ] || fail "other files: $(ls)"
cd / || exit 1

# --- deploying
mkdir "$tmp/f"
echo 'def handler(e, c): return e' >"$tmp/one.py"
expect 1 '' 'No such file' -- deploy "$tmp/nix"
expect 1 '' 'has no function.json; add one' -- deploy "$tmp/f"
echo '{"runtime":"python","handler":"a.b","memory":5}' >"$tmp/f/function.json"
expect 1 '' 'unknown key "memory"; did you mean "memory_mb"' -- deploy "$tmp/f"
echo '{"runtime":"python",' >"$tmp/f/function.json"
expect 1 '' 'function.json:[0-9]+:[0-9]+: ' -- deploy "$tmp/f"
echo '{"runtime":"native","handler":"x.so"}' >"$tmp/f/function.json"
expect 1 '' 'x.so, which does not exist; is it built' -- deploy "$tmp/f"
echo '{"runtime":"python","handler":"a.b","example":{"x":1},"timeout_ms":5}' >"$tmp/f/function.json"
expect 1 '' 'only native functions can be trusted' -- deploy "$tmp/f" --trusted
expect 2 '' "'X' is not NAME=VALUE" -- deploy "$tmp/f" --env X
for wrong in '"concurrency":-1' '"concurrency":1.5' '"reserved":4096' '"queue":"all"' '"priority":8' '"priority":true' \
	'"libraries":"numpy"' '"libraries":[1]' '"libraries":[""]'; do
	echo '{"runtime":"python","handler":"a.b",'"$wrong"'}' >"$tmp/f/function.json"
	key=${wrong%%:*}
	expect 1 '' "${key//\"/}" -- deploy "$tmp/f"
done
echo '{"runtime":"python","handler":"a.b","concurrency":2,"reserved":1,"queue":3,"priority":7,"libraries":["scipy"]}' \
	>"$tmp/f/function.json"
expect 0 '^deployed f ' '' -- deploy "$tmp/f"
want='{"concurrency": 2, "handler": "a.b", "libraries": ["scipy"], "name": "f", "op": "deploy", "priority": 7, "queue": 3, "reserved": 1, "runtime": "python", "source": "'$tmp'/f"}'
[ "$(cat "/run/warmcore/$node/deployed")" = "$want" ] || fail "deploy sent $(cat "/run/warmcore/$node/deployed")"
expect 0 '^deployed f ' '' -- deploy "$tmp/f" --library numpy --library pandas
grep -q '"libraries": \["numpy", "pandas"\]' "/run/warmcore/$node/deployed" || fail "--library is not before function.json"
echo '{"runtime":"python","handler":"a.b","example":{"x":1},"timeout_ms":5}' >"$tmp/f/function.json"
expect 0 '^deployed f \(python, id' '' -- deploy "$tmp/f/" --timeout-ms 7 --env A=1 --env B==
want='{"environment": {"A": "1", "B": "="}, "handler": "a.b", "name": "f", "op": "deploy", "runtime": "python", "source": "'$tmp'/f", "timeout_ms": 7}'
[ "$(cat "/run/warmcore/$node/deployed")" = "$want" ] || fail "deploy sent $(cat "/run/warmcore/$node/deployed")"
cd "$tmp" || exit 1
expect 0 '^deployed one ' '' -- deploy one.py
want='{"handler": "one.handler", "name": "one", "op": "deploy", "runtime": "python", "source": "'$tmp'/one.py"}'
[ "$(cat "/run/warmcore/$node/deployed")" = "$want" ] || fail "deploy sent $(cat "/run/warmcore/$node/deployed")"
cp one.py one.c
# An archive: what it says, under its own name, and the source is the archive itself.
zip_of() { python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    for entry in sys.argv[2:]:
        z.writestr(*entry.split("=", 1))' "$@"; }
zip_of pack.zip 'function.json={"runtime": "python", "handler": "a.b", "queue": 3}' a.py=
expect 0 '^deployed pack ' '' -- deploy pack.zip
want='{"handler": "a.b", "name": "pack", "op": "deploy", "queue": 3, "runtime": "python", "source": "'$tmp'/pack.zip"}'
[ "$(cat "/run/warmcore/$node/deployed")" = "$want" ] || fail "deploy sent $(cat "/run/warmcore/$node/deployed")"
zip_of other 'function.json={"runtime": "native", "handler": "lib/x.so:f"}' lib/x.so=
expect 0 '^deployed other ' '' -- deploy other
zip_of other.zip 'function.json={"runtime": "native", "handler": "lib/x.so:f"}' x.so=
expect 1 '' 'other.zip/lib/x.so, which does not exist' -- deploy other.zip
zip_of folder.zip 'folder/function.json={"runtime": "python", "handler": "a.b"}' folder/a.py=
expect 1 '' 'has no function.json at its root; add one' -- deploy folder.zip
expect 0 '^deployed folder ' '' -- deploy folder.zip --runtime python --handler folder/a.b
zip_of bad.zip 'function.json={"runtime": "python", "handler": "a.b", "memory": 3}'
expect 1 '' 'bad.zip/function.json: unknown key "memory"; did you mean "memory_mb"' -- deploy bad.zip
head -c 30 pack.zip >cut.zip
expect 1 '' 'cut.zip: this is not a sound zip archive' -- deploy cut.zip
: >empty.zip
expect 1 '' 'empty.zip: the zip archive is empty' -- deploy empty.zip

expect 0 '^ +7  current +2026-01-01T00:00:00Z +2 +77 +python +0123456789ab$' '' -- versions echo
expect 0 '"version":5' '' -- --json versions echo
expect 1 '' "no function 'nix' is deployed" -- versions nix
expect 0 '^echo is version 5 again \(it was 7\)$' '' -- rollback echo
asked '{"name": "echo", "op": "rollback"}'
expect 0 '^echo is version 6 again' '' -- rollback echo 6
asked '{"name": "echo", "op": "rollback", "version": 6}'
expect 1 '' "no function 'nix' is deployed" -- rollback nix
expect 0 '^ +3  2026-01-01T00:00:00Z ' '' -- versions echo --published
expect 0 '"qualifier":"3"' '' -- --json versions echo -p
expect 0 '^echo:4 \(nothing has changed since\)$' '' -- publish echo
asked '{"name": "echo", "op": "publish"}'
expect 0 '^echo:4$' '' -- publish echo --description 'with ü'
expect 1 '' "no function 'nix' is deployed" -- publish nix
expect 0 '^prod +3  4=0.25 +2  live$' '' -- alias echo
asked '{"action": "list", "name": "echo", "op": "alias"}'
expect 0 '^prod ' '' -- alias echo prod
asked '{"action": "get", "alias": "prod", "name": "echo", "op": "alias"}'
expect 0 '^prod ' '' -- alias echo prod 3 --weight 4=0.25 --provisioned 2 --description live
asked '{"action": "set", "alias": "prod", "description": "live", "name": "echo", "op": "alias", "provisioned": 2, "version": "3", "weights": {"4": 0.25}}'
expect 0 '^prod ' '' -- alias echo prod --weight none
asked '{"action": "set", "alias": "prod", "name": "echo", "op": "alias", "weights": {}}'
expect 0 '^removed the alias prod of echo$' '' -- alias echo prod --remove
for weight in 4 =1 4= 4=x 4=1.1 4=-0.1 4=nan ''; do
	expect 2 '' 'is neither VERSION=WEIGHT' -- alias echo prod --weight "$weight"
done
expect 2 '' 'which alias' -- alias echo --remove
expect 2 '' 'exclude each other' -- alias echo prod 3 --remove
expect 0 '^removed echo:3$' '' -- remove echo:3
expect 0 '^echo: each version runs at most 0 at a time: it is paused' '' -- limit echo --reserved-concurrency 0
asked '{"action": "set", "name": "echo", "op": "concurrency", "reserved": 0}'
expect 0 '^echo: no reserved concurrency$' '' -- limit echo --reserved-concurrency -1
asked '{"action": "remove", "name": "echo", "op": "concurrency"}'
expect 2 '' 'set by itself' -- limit echo --reserved-concurrency 1 --queue 1
expect 2 '' 'set by itself' -- limit echo:1 --reserved-concurrency 1
expect 2 '' 'reserved-concurrency: -2 is out of range, -1 to 65536' -- limit echo --reserved-concurrency -2

expect 1 '' 'is source code; build a shared object' -- deploy one.c
expect 0 "^node '$node' is down" '' -- down
[ ! -e "/run/warmcore/$node" ] || fail "something is left after down"

# --- nodes that misbehave
up cut
expect 1 '' 'without a whole answer' -- list
down
up unsound
expect 1 'core 3 is claimed by nobody' '' -- doctor --maps
down
up messy # leaves its run folder: down must notice
expect 0 "is down" '' -- down
[ ! -e "/run/warmcore/$node" ] || fail "remains are left after down"
up messy
expect 0 '"done":"stopped"' '' -- --json down
python3 -m json.tool "$tmp/out" >/dev/null 2>&1 || fail "down --json printed something else, too"
up stubborn
expect 1 '' 'has not ended after 1 s; --force kills it' -- down --timeout 1
expect 0 'is down' '' -- down --timeout 1 --force
[ ! -e "/run/warmcore/$node" ] || fail "remains are left after down --force"
mkdir -p "/run/warmcore/$node"
FAKE_CLEAN=1 expect 1 '' 'could not remove everything \(exit status 1\)' -- down
mkdir -p "/run/warmcore/$node"
expect 0 'was not running; what it had left is removed' '' -- down

echo "test_cli_errors: $count commands, $failures failures"
[ $failures = 0 ]
