# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A headless Chromium, driven over its debugging pipe (two descriptors, JSON between NULs): nothing but Python is needed for it."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

import harness

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page. What it complains about is in `complaints`: its console's errors, exceptions, violations of the policy."""

    def __init__(self, width=1200, height=900, dark=False):
        self.profile = tempfile.mkdtemp(prefix="warmcore-e2e-browser-")
        down, self.out = os.pipe()
        self.inn, up = os.pipe()
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--disable-breakpad", "--disable-extensions",
                   "--remote-debugging-pipe", "--user-data-dir=" + self.profile, "--window-size=%d,%d" % (width, height),
                   "about:blank"]  # fmt: skip

        def pipes():  # the browser reads from 3 and writes to 4
            read, write = os.dup(down), os.dup(up)
            os.dup2(read, 3)
            os.dup2(write, 4)

        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        close_fds=False, preexec_fn=pipes, start_new_session=True, env=dict(os.environ, HOME=self.profile))  # fmt: skip
        os.close(down)
        os.close(up)
        self.number, self.buffer, self.session, self.complaints, self.requests = 0, b"", None, [], []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def _read(self, end):
        while b"\0" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.inn], [], [], left)[0]:
                raise AssertionError("the browser does not answer")
            data = os.read(self.inn, 1 << 20)
            if not data:
                raise AssertionError("the browser is gone")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, message):
        method, what = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(what["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.complaints.append(what["entry"]["text"] + " " + what["entry"].get("url", ""))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(what["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append("a dialog: " + what["message"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif method == "Fetch.requestPaused":
            self._send("Fetch.fulfillRequest", requestId=what["requestId"], responseCode=200, body=self.fake_body,
                       responseHeaders=[{"name": "Content-Type", "value": "application/json"}])  # fmt: skip

    def _send(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.out, data) :]
        return self.number

    def call(self, method, **parameters):
        """The result of one command; events that come meanwhile are noted."""
        number = self._send(method, **parameters)
        end = time.monotonic() + harness.PATIENCE_S
        while True:
            answer = self._read(end)
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError("%s: %s" % (method, answer["error"]))
                return answer["result"]
            self._note(answer)

    def fake(self, pattern, body):
        """From now on, what the page asks of this address is answered with this JSON."""
        self.fake_body = base64.b64encode(json.dumps(body).encode()).decode()
        self.call("Fetch.enable", patterns=[{"urlPattern": pattern}])

    def open(self, url):
        self.complaints, self.requests = [], []
        self.call("Page.navigate", url=url)

    def run(self, expression):
        """The value of an expression in the page, as JSON."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError("%s: %s" % (expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self, selector="body"):
        return self.run("document.querySelector(%s)?.innerText ?? ''" % json.dumps(selector))

    def wait_for(self, expression):
        try:
            # What throws, because the page is not there yet, is not true yet.
            return harness.wait_until(lambda: self.run("(() => { try { return %s } catch { return null } })()" % expression), expression)
        except AssertionError:
            raise AssertionError("not: %s; the page says %r, complaints %s" % (expression, self.text()[:1500], self.complaints)) from None

    def type(self, selector, text):
        self.run("document.querySelector(%s).focus()" % json.dumps(selector))
        self.call("Input.insertText", text=text)

    def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text="\r" if key == "Enter" else "")

    def close(self):
        """All of its processes, and its profile."""
        os.close(self.out)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.inn)
        shutil.rmtree(self.profile, ignore_errors=True)
