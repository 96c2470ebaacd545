#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The gateway's page at /ui/, in a real browser: what it shows while a node works, dies and comes back, with keys, and of hostile names."""

import json
import threading
import unittest

import browser
import gates
import gateway
import harness
from test_gateway_auth import Keys

LIVE = "/system/live"
HOSTILE = ["<img src=x onerror=alert(1)>", "\"><script>alert(2)</script>", "</title><script>alert(3)</script>", "javascript:alert(4)",
           "{{constructor.constructor('alert(5)')()}}", "\u202egnp.exe", "n" * 4000, "__proto__", "constructor", "a\u0000b\u001b[2J"]  # fmt: skip
FILES = {"/ui/": "text/html", "/ui/ui.js": "text/javascript", "/ui/model.js": "text/javascript", "/ui/plot.js": "text/javascript",
         "/ui/ui.css": "text/css", "/ui/icon.svg": "image/svg+xml"}  # fmt: skip


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = gates.Node("web")
        cls.addClassCleanup(cls.node.close)
        cls.node.up("--cores", gates.cores(4)[0])
        cls.gate_id = cls.node.native("gate")
        cls.node.deploy_python("probe")
        cls.gateway = gateway.Gateway(cls.node)
        cls.addClassCleanup(cls.gateway.close)

    @classmethod
    def tearDownClass(cls):
        cls.node.wait_idle()
        cls.gateway.stop()
        cls.node.down()
        cls.node.check_nothing_left()

    def page(self, url=None, **how):
        if not browser.CHROMIUM:
            self.skipTest("chromium is not installed: scripts/install-deps.sh --group test")
        page = browser.Browser(**how)
        self.addCleanup(page.close)
        page.open((url or self.gateway.url) + "/ui/")
        return page

    def live(self, page):
        page.wait_for("document.getElementById('status').dataset.kind === 'good'")
        page.wait_for("document.querySelectorAll('#cores li').length === 8")

    # --- without a browser ---

    def test_files(self):
        with self.gateway.connect() as connection:
            for path, kind in FILES.items():
                answer = connection.request("GET", path)
                self.assertEqual(answer.status, 200, path)
                self.assertTrue(answer.header("content-type").startswith(kind), path)
                self.assertIn("default-src 'none'", answer.header("content-security-policy"))
                self.assertNotIn("unsafe", answer.header("content-security-policy"))
                self.assertEqual(answer.header("x-content-type-options"), "nosniff")
                self.assertNotRegex(answer.body.decode(), r"https?://(?!www\.w3\.org/2000/svg)")  # nothing from elsewhere
                self.assertEqual(connection.request("HEAD", path).body, b"")
                self.assertEqual(connection.request("POST", path, b"x").status, 405)
            self.assertEqual(connection.request("GET", "/ui").header("location"), "ui/")
            for path in ("/ui/x", "/ui/ui.js/", "/ui//", "/uix", "/ui/index.html"):
                self.assertEqual(connection.request("GET", path).status, 404, path)
            for path in ("/ui/../healthz", "/ui/%2e%2e/healthz", "/ui/%2fetc", "/ui/a%00"):
                self.assertEqual(connection.request("GET", path).status, 400, path)

    def test_live(self):
        answer = self.gateway.request("GET", LIVE)
        self.assertEqual(answer.header("cache-control"), "no-store")
        self.assertEqual(answer.header("cross-origin-resource-policy"), "same-origin")
        self.assertIsNone(answer.header("access-control-allow-origin"))
        live = answer.json()
        self.assertEqual(live["node"]["name"], self.node.name)
        self.assertEqual(len(live["cores"]["rows"]), 8)
        self.assertEqual({row[1] for row in live["functions"]["rows"]}, {"gate", "probe"})
        for table in ("cores", "functions", "shards", "tags"):
            for row in live[table]["rows"]:
                self.assertEqual(len(row), len(live[table]["columns"]))
        self.assertEqual(self.gateway.request("POST", LIVE, b"{}").status, 405)

    def test_many_ask_few_are_passed_on(self):
        """What the node pays does not grow with the number of pages."""
        answers, lock = [], threading.Lock()

        def ask():
            with self.gateway.connect() as connection:
                for _ in range(5):
                    answer = connection.request("GET", LIVE)
                    with lock:
                        answers.append((answer.status, answer.json().get("at_us")))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual(len(answers), 200)
        moments = sorted({at for _, at in answers})
        loops = 2  # an answer is kept by each loop for half a second
        self.assertLessEqual(len(moments), loops * (2 + (moments[-1] - moments[0]) / 500000))

    # --- with one ---

    def test_page(self):
        page = self.page()
        self.live(page)
        self.assertEqual(page.text("#node"), self.node.name)
        invocations = {f["name"]: f["invocations"] for f in self.node.json("list")["functions"]}
        self.node.cli("invoke", "probe", '{"op": "echo"}', check=False)
        total = "[...document.querySelectorAll('#functions tbody tr')].some((r) => r.cells[0].innerText === 'probe' && r.cells[10].innerText === '%d')"
        page.wait_for(total % (invocations["probe"] + 1))
        page.wait_for("[...document.querySelectorAll('#cores .tags')].some((t) => t.innerText.includes('probe'))")
        page.wait_for("document.getElementById('tags').innerText.includes('python')")
        running = "[...document.querySelectorAll('#cores li[data-state=running]')].map((c) => c.innerText).join()"
        with gates.Crowd(self.node) as crowd:
            gate = self.node.new_gate()
            crowd.send(self.gate_id, "held-page", gate)
            page.wait_for(running + ".includes('gate')")
            page.wait_for("document.getElementById('legend').innerText.includes('1 running')")
            self.node.open(gate)
            crowd.gather()
        page.wait_for(running + " === ''")
        self.assertEqual(page.complaints, [])
        self.assertEqual({url for url in page.requests if not url.startswith(self.gateway.url + "/")}, set())
        # A plot has its line, and says its value to who cannot see it.
        page.wait_for("document.querySelector('#plots path').getAttribute('d').includes('L')")
        self.assertIn("now invocations", page.run("document.querySelector('#plots svg').getAttribute('aria-label')"))

    def test_controls(self):
        page = self.page()
        self.live(page)
        page.type("#filter", "GAT")
        page.wait_for("document.querySelectorAll('#functions tbody tr').length === 1")
        self.assertEqual(page.text("#functions-more"), "1 of 2")
        page.run("document.getElementById('filter').value = ''")
        page.run("document.querySelectorAll('#functions th button')[0].focus()")
        page.press("Enter", 13)
        page.wait_for("document.querySelector('#functions th').ariaSort === 'ascending'")
        names = "[...document.querySelectorAll('#functions tbody td:first-child')].map((c) => c.innerText)"
        self.assertEqual(page.run(names), ["gate", "probe"])
        page.press("Enter", 13)
        page.wait_for(names + "[0] === 'probe'")
        page.run("document.querySelector('#functions tbody button').click()")
        self.assertIn("of probe", page.text("#plots-of"))
        page.run("document.getElementById('pause').click()")
        page.wait_for("document.getElementById('status').innerText === 'paused'")
        asked = [len([url for url in page.requests if url.endswith(LIVE)])]
        page.run("new Promise((done) => setTimeout(done, 2500))")
        self.assertLessEqual(len([url for url in page.requests if url.endswith(LIVE)]), asked[0] + 1)
        page.run("document.getElementById('pause').click()")
        page.wait_for("document.getElementById('status').innerText === 'live'")
        # Whoever hears the page: everything that can be pressed or filled in has a name.
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        pressable = [n for n in nodes if not n["ignored"] and n.get("role", {}).get("value") in ("button", "searchbox", "textbox", "img", "link")]
        self.assertGreater(len(pressable), 15)
        self.assertEqual([n["role"] for n in pressable if not n.get("name", {}).get("value")], [])
        self.assertEqual(page.complaints, [])

    def test_hostile_names(self):
        """They are text, wherever they are shown; and the policy would stop them if they were not."""
        page = self.page()
        self.live(page)
        answer = self.gateway.request("GET", LIVE).json()
        answer["node"]["name"] = answer["node"]["policy"] = answer["node"]["version"] = HOSTILE[2]
        answer["functions"]["rows"] = [[4097 + i, name, 5 + i, 0, 0, 10, 10, 0, 0] for i, name in enumerate(HOSTILE)]
        answer["cores"]["rows"] = [[3 if i % 2 else 1, 0, 4097 + i % len(HOSTILE) if i % 2 else 0, 5000000, 0, 0,
                                    [4097 + (i + k) % len(HOSTILE) for k in range(8)]] for i in range(4096)]  # fmt: skip
        answer["tags"]["rows"] = [[name, 1, 1] for name in HOSTILE]
        page.fake("*" + LIVE, answer)
        page.wait_for("document.querySelectorAll('#functions tbody tr').length === %d" % len(HOSTILE))
        page.wait_for("document.querySelectorAll('#cores li').length === 512")
        self.assertEqual(page.text("#node"), HOSTILE[2])
        names = page.run("[...document.querySelectorAll('#functions tbody td:first-child button')].map((c) => c.textContent)")
        self.assertEqual(sorted(names), sorted(HOSTILE))
        page.run("document.querySelectorAll('#functions tbody button').forEach((b) => b.click())")
        self.assertEqual(page.run("document.querySelectorAll('img, script:not([src]), iframe, body script').length"), 0)
        self.assertEqual(page.run("({}).rate"), None)  # no prototype was changed
        self.assertLessEqual(page.run("document.documentElement.scrollWidth"), page.run("innerWidth"))
        self.assertEqual(page.complaints, [])
        # What the policy does against markup that got in by another way.
        refused = page.run("(() => { try { document.body.innerHTML = '<img src=x onerror=alert(9)>'; return 'taken' } catch (e) { return e.name } })()")
        self.assertEqual(refused, "TypeError")
        page.run("(() => { const s = document.createElement('style'); s.textContent = 'body{display:none}'; document.head.append(s) })()")
        self.assertEqual(page.run("getComputedStyle(document.body).display"), "block")
        self.assertFalse([c for c in page.complaints if c.startswith("a dialog")])

    def test_phone_and_dark(self):
        page = self.page(width=360, height=640, dark=True)
        self.live(page)
        self.assertEqual(page.run("document.documentElement.scrollWidth"), 360)
        red, green, blue = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        self.assertLess(red + green + blue, 200)
        light = self.page()
        self.live(light)
        self.assertGreater(sum(light.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")), 600)

    def test_model(self):
        """Rates, parts and means of two answers, one a restart of the node."""
        page = self.page()
        self.live(page)
        answer = self.gateway.request("GET", LIVE).json()
        answer["cores"]["rows"] = [[1, 0, 0, 0, 1000000, 10, []], [3, 0, 4097, 500, 0, 1, [4097, 77]]]
        answer["functions"]["rows"] = [[4097, "a", 10, 1, 1, 1000, 2000, 0, 0], [4098, "b", 5, 0, 0, 0, 0, 0, 0]]
        later = json.loads(json.dumps(answer))
        later["at_us"] += 2000000
        later["cores"]["rows"][0][4:6] = [2000000, 30]
        later["functions"]["rows"][0][2:7] = [30, 3, 1, 3000, 8000]
        later["counters"]["steals"] += 8
        later["functions"]["rows"][0][0] += 4096 * 7  # a new version, in its slot
        for row in later["cores"]["rows"]:
            row[2] += row[2] and 4096 * 7
            row[6] = [later["functions"]["rows"][0][0] if tag == 4097 else tag for tag in row[6]]
        frames = page.run("(async () => { const m = await import('/ui/model.js'); const f = m.makeFrame(%s, null), g = m.makeFrame(%s, f);"
                          " const h = %s; h.node.pid++; h.at_us += 9; return [f, g, m.makeFrame(h, g)] })()"
                          % (json.dumps(answer), json.dumps(later), json.dumps(later)))  # fmt: skip
        first, second, restarted = frames
        self.assertEqual([first["seconds"], first["busy"], first["functions"][0]["rate"], first["rate"]["steals"]], [None] * 4)
        self.assertEqual(second["seconds"], 2)
        a, b = second["functions"]
        self.assertEqual((a["rate"], a["errorRate"], a["coldRate"], a["wait"], a["service"], a["load"]), (10, 1, 0, 100, 300, 0.003))
        self.assertEqual((a["running"], a["warm"], b["rate"], b["wait"]), (1, 1, 0, None))
        self.assertEqual([(c["state"], c["name"], c["busy"], c["rate"], c["tags"]) for c in second["cores"]],
                         [("free", "", 0.5, 10, []), ("running", "a", 0, 0, ["a"])])  # fmt: skip
        self.assertEqual((second["rate"]["steals"], second["wait"], second["service"], second["busy"]), (4, 100, 300, 0.25))
        self.assertEqual((restarted["seconds"], restarted["functions"][0]["rate"]), (None, None))
        texts = page.run("import('/ui/model.js').then((m) => [m.shortTime(1.25), m.shortTime(12345), m.shortTime(null), m.shortNumber(1234567),"
                         " m.sortRows([{a: null}, {a: 1}, {a: 3}], 'a', false).map((r) => r.a)])")  # fmt: skip
        self.assertEqual(texts, ["1.3 \u00b5s", "12.3 ms", "\u2013", "1.2M", [3, 1, None]])
        path = page.run("import('/ui/plot.js').then((p) => [p.niceTop(0), p.niceTop(3), p.niceTop(0.07), p.linePath([1, null, 2, 1], 2, 4)])")
        self.assertEqual(path[:2], [1, 5])
        self.assertAlmostEqual(path[2], 0.1)
        self.assertEqual(path[3], "M0.0 50.0h1M160.0 0.0L240.0 50.0")

    def test_keys(self):
        keys = Keys(self.node, "keys-web")
        _, admin = keys.create("root", "--kind", "bearer", "--role", "admin")
        _, caller = keys.create("caller", "--kind", "bearer")
        guarded = gateway.Gateway(self.node, "--key-file", keys.path)
        self.addCleanup(guarded.close)
        self.assertEqual(guarded.request("GET", "/ui/").status, 200)
        self.assertEqual(guarded.request("GET", LIVE).status, 401)
        for token, status in ((caller, 403), (admin, 200), ("x" * 40, 401)):
            self.assertIn(guarded.request("GET", LIVE, headers=[("Authorization", "Bearer " + token)]).status, (status, 403 if status > 400 else 200))
        page = self.page(guarded.url)
        shown, hidden = "!document.getElementById('login').hidden", "document.getElementById('login').hidden"
        page.wait_for(shown)
        self.assertEqual(page.run("document.querySelectorAll('#cores li').length"), 0)
        for wrong in ("no-such-token", caller):
            page.type("#token", wrong)
            page.press("Enter", 13)
            page.wait_for("sessionStorage.length === 0 && document.getElementById('token').value === ''")
            page.wait_for(shown)
        page.type("#token", admin)
        page.press("Enter", 13)
        page.wait_for(hidden)
        self.live(page)
        page.call("Page.reload")
        self.live(page)
        self.assertFalse([url for url in page.requests if admin in url or caller in url])
        self.assertEqual(page.run("document.cookie + Object.keys(localStorage)"), "")
        self.assertFalse([c for c in page.complaints if "401" not in c and "403" not in c])
        keys.run("disable", "root")
        page.wait_for(shown)
        self.assertEqual(guarded.stop(), 0)


class Down(unittest.TestCase):
    def test_down(self):
        if not browser.CHROMIUM:
            self.skipTest("chromium is not installed: scripts/install-deps.sh --group test")
        node = gates.Node("webd")
        self.addCleanup(node.close)
        node.up()
        served = gateway.Gateway(node)
        self.addCleanup(served.close)
        page = browser.Browser()
        self.addCleanup(page.close)
        page.open(served.url + "/ui/")
        status = "document.getElementById('status').innerText"
        page.wait_for(status + " === 'live'")
        node.kill9()
        page.wait_for(status + ".includes('the node is not running')")
        self.assertEqual(served.request("GET", LIVE).status, 503)
        node.up()
        page.wait_for(status + " === 'live'")
        page.wait_for("document.getElementById('about').innerText.includes('pid %d')" % node.pid)
        self.assertEqual(served.stop(), 0)
        page.wait_for(status + " === 'the gateway is not there'")
        node.down()


if __name__ == "__main__":
    harness.main()
