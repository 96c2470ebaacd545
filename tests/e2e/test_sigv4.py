#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# parallel-safe
"""Signature Version 4 against what really signs: AWS's SDK for JavaScript and its signer, unmodified, from npm.

Hundreds of random requests go over a socket (sigv4_sign.js) and must pass as they came (sigv4_check.c); each with one byte changed, in
every place that is signed, must be refused. Then `warmcore keys`, whose keys they are signed with.
"""

import base64
import json
import os
import random
import shutil
import stat
import string
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("WARMCORE_BUILD", os.path.join(ROOT, "build")))
WARMCORE = os.path.join(BUILD, "bin", "warmcore")
CHECK = os.path.join(BUILD, "tests", "e2e", "sigv4_check")
SIGN = os.path.join(ROOT, "tests", "e2e", "sigv4_sign.js")
NPM_KIT = os.path.join(ROOT, "scripts", "npm-kit.sh")
REQUESTS = 400
SEED = int(os.environ.get("WARMCORE_TEST_SEED", "1"))
ALNUM = string.ascii_letters + string.digits


def other(chance, c):
    """Another letter or digit, and not the same in another case, which means the same in %2f."""
    return chance.choice([x for x in ALNUM if x.lower() != c.lower()])


def change_text(chance, text):
    """One letter or digit of it changed; None when it has none."""
    places = [i for i, c in enumerate(text) if c in ALNUM]
    if not places:
        return None
    at = chance.choice(places)
    return text[:at] + other(chance, text[at]) + text[at + 1:]


def signed_names(request):
    for name, value in request["headers"]:
        if name.lower() == "authorization":
            return value.split("SignedHeaders=")[1].split(",")[0].split(";")
    return request["query"].split("X-Amz-SignedHeaders=")[1].split("&")[0].split("%3B")


def with_header(request, name, value):
    headers = [[n, value if n.lower() == name else v] for n, v in request["headers"]]
    return dict(request, headers=headers)


def mutations(chance, request):
    """Pairs of what was changed and the changed request."""
    signed = signed_names(request)
    for part in ("method", "path", "query"):
        changed = change_text(chance, request[part])
        if changed is not None:
            yield part, dict(request, **{part: changed})
    yield "path longer", dict(request, path=request["path"] + "a")
    yield "path with a dot segment", dict(request, path="/." + request["path"])
    yield "query longer", dict(request, query=request["query"] + "&a=b" if request["query"] else "a=b")
    body = bytearray(base64.b64decode(request["body"]))
    if body:
        at = chance.randrange(len(body))
        body[at] ^= 1 << chance.randrange(8)
        yield "body", dict(request, body=base64.b64encode(body).decode())
        yield "body shorter", dict(request, body=base64.b64encode(body[:-1]).decode())
    yield "body longer", dict(request, body=base64.b64encode(bytes(body) + b"x").decode())
    for name, value in request["headers"]:
        lower = name.lower()
        if lower == "authorization":
            scope, names, signature = value.split(", ")
            for what, field in (("scope", scope), ("signed headers", names), ("signature", signature)):
                label, text = field.split("=", 1)
                changed = change_text(chance, text)
                if what == "signature":  # only digits of it, else its form is refused
                    at = chance.randrange(64)
                    changed = text[:at] + chance.choice([c for c in "0123456789abcdef" if c != text[at]]) + text[at + 1:]
                yield what, with_header(request, "authorization", value.replace(field, label + "=" + changed))
        elif lower in signed:
            changed = change_text(chance, value)
            if changed is not None:
                yield "header " + lower, with_header(request, lower, changed)
            yield "without " + lower, dict(request, headers=[h for h in request["headers"] if h[0] != name])
            yield lower + " twice", dict(request, headers=request["headers"] + [[name, value]])
    yield "unsigned x-amz header", dict(request, headers=request["headers"] + [["x-amz-log-type", "Tail"]])
    if "x-amz-date" in signed:
        yield "old", dict(request, now=request["now"] + 100000)
        yield "early", dict(request, now=request["now"] - 100000)


class Sigv4(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run([NPM_KIT, "sdk"], capture_output=True, text=True)
        if done.returncode:
            print("SKIP: " + done.stderr.strip().splitlines()[-1])
            sys.exit(77)
        cls.kit = done.stdout.strip()
        cls.folder = tempfile.mkdtemp(prefix="warmcore-sigv4-")
        cls.keys = os.path.join(cls.folder, "keys.json")
        made = json.loads(cls.keys_command("create", "sdk").stdout)
        cls.id, cls.secret = made["key"]["id"], made["secret"]
        cls.requests = cls.sign(cls.id, cls.secret)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def keys_command(cls, *arguments, ok=True):
        done = subprocess.run([WARMCORE, "--json", "keys", *arguments, "--key-file", cls.keys], capture_output=True, text=True)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    @classmethod
    def sign(cls, key_id, secret, count=REQUESTS):
        done = subprocess.run(
            ["node", SIGN, cls.kit, str(SEED), str(count)], capture_output=True, text=True, check=True,
            env=dict(os.environ, WARMCORE_TEST_ID=key_id, WARMCORE_TEST_SECRET=secret, NODE_NO_WARNINGS="1"))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def content(self):
        with open(self.keys, "rb") as file:
            return file.read()

    def verdicts(self, requests, *options):
        text = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run([CHECK, self.keys, *options], input=text, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        verdicts = done.stdout.splitlines()
        self.assertEqual(len(verdicts), len(requests))
        return verdicts

    def test_all_pass(self):
        kinds = {request["kind"] for request in self.requests}
        self.assertTrue({"signed", "presigned", "InvokeCommand", "CreateFunctionCommand"} <= kinds, kinds)
        self.assertGreater(len(self.requests), REQUESTS)
        for request, verdict in zip(self.requests, self.verdicts(self.requests)):
            self.assertEqual(verdict, "pass sdk", request)

    def test_no_mutation_passes(self):
        chance = random.Random(SEED)
        changed = [(what, request) for original in self.requests for what, request in mutations(chance, original)]
        seen = {}
        for (what, request), verdict in zip(changed, self.verdicts([request for _, request in changed])):
            self.assertTrue(verdict.startswith("deny 4"), f"{what} (seed {SEED}): {verdict}\n{request}")
            self.assertNotIn(self.secret, verdict)
            seen[what] = seen.get(what, 0) + 1
        for what in ("method", "path", "query", "body", "scope", "signature", "header host", "header x-amz-date", "old"):
            self.assertGreater(seen.get(what, 0), REQUESTS // 4, what)
        print(f"{len(changed)} mutations of {len(self.requests)} requests, seed {SEED}: {seen}")

    def test_classes(self):
        """What the SDK is told: its classes, and its clock is set by the words about the moment."""
        plain = next(request for request in self.requests if request["kind"] == "InvokeCommand")
        authorization = next(value for name, value in plain["headers"] if name == "authorization")
        unknown = with_header(plain, "authorization", authorization.replace(self.id, "WCKA" + "A" * 16))
        wrong = with_header(plain, "authorization", authorization[:-1] + ("0" if authorization[-1] != "0" else "1"))
        bare = dict(plain, headers=[h for h in plain["headers"] if h[0] != "authorization"])
        half = with_header(plain, "authorization", authorization.split(", Signature")[0])
        old = dict(plain, now=plain["now"] + 400)
        expected = ["deny 403 UnrecognizedClientException", "deny 403 InvalidSignatureException",
                    "deny 403 MissingAuthenticationTokenException", "deny 403 IncompleteSignatureException",
                    "deny 403 InvalidSignatureException Signature expired: "]
        for verdict, begin in zip(self.verdicts([unknown, wrong, bare, half, old]), expected):
            self.assertTrue(verdict.startswith(begin), verdict)

    def test_keys(self):
        """Rotation, disabling and removal, as the requests see them; and no secret where none belongs."""
        secret_file = os.path.join(self.folder, "credentials")
        made = self.keys_command("create", "ci", "--role", "admin", "--functions", "a-*", "--secret-file", secret_file)
        key = json.loads(made.stdout)["key"]
        self.assertEqual((key["role"], key["functions"], key["enabled"]), ("admin", ["a-*"], True))
        self.assertEqual(stat.S_IMODE(os.stat(secret_file).st_mode), 0o600)
        with open(secret_file, encoding="ascii") as file:
            first = dict(line.strip().split(" = ") for line in file if " = " in line)
        self.assertEqual(first["aws_access_key_id"], key["id"])
        self.assertNotIn(first["aws_secret_access_key"], made.stdout + made.stderr)
        # That file is not written over, and then nothing has changed.
        before = self.content()
        self.assertIn("File exists", self.keys_command("rotate", "ci", "--secret-file", secret_file, ok=False).stderr)
        self.assertEqual(self.content(), before)
        old = self.sign(key["id"], first["aws_secret_access_key"], 0)
        second = json.loads(self.keys_command("rotate", key["id"]).stdout)["secret"]
        new = self.sign(key["id"], second, 0)
        self.assertEqual(set(self.verdicts(old + new)), {"pass ci"})
        third = json.loads(self.keys_command("rotate", "ci", "--overlap-hours", "0").stdout)["secret"]
        newest = self.sign(key["id"], third, 0)
        self.assertEqual(set(self.verdicts(newest)), {"pass ci"})
        for verdict in self.verdicts(old + new):
            self.assertTrue(verdict.startswith("deny 403 InvalidSignatureException"), verdict)
        self.keys_command("disable", "ci")
        for verdict in self.verdicts(newest):
            self.assertTrue(verdict.startswith("deny 403 UnrecognizedClientException"), verdict)
        self.keys_command("enable", "ci")
        self.assertEqual(set(self.verdicts(newest)), {"pass ci"})
        listed = self.keys_command("list").stdout
        self.assertEqual([k["name"] for k in json.loads(listed)["keys"]], ["sdk", "ci"])
        for secret in (self.secret, third, second, first["aws_secret_access_key"]):
            self.assertNotIn(secret, listed)
        self.keys_command("remove", "ci")
        for verdict in self.verdicts(newest):
            self.assertTrue(verdict.startswith("deny 403 UnrecognizedClientException"), verdict)
        for arguments in (("remove", "ci"), ("rotate", "ci"), ("create", "sdk"), ("create", "a b"), ("create",), ("liste",),
                          ("list", "x"), ("create", "x", "--functions", "a/b"), ("create", "x", "--owner", "nobody-at-all"),
                          ("disable", "sdk", "--secret-file", "/x"), ("rotate", "sdk", "--overlap-hours", "721")):
            before = self.content()
            self.assertFalse(json.loads(self.keys_command(*arguments, ok=False).stdout)["ok"])
            self.assertEqual(self.content(), before)

    def test_lost_secret(self):
        """Where the secret cannot be shown, it is said that it could not."""
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([WARMCORE, "keys", "create", "lost", "--kind", "bearer", "--key-file", self.keys],
                                  stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("rotate it", done.stderr)
        self.keys_command("remove", "lost")


if __name__ == "__main__":
    unittest.main(verbosity=2)
