// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// ui.js - the page: asks /system/live once a second, and shows what model.js makes of it. Text gets into the page by textContent only.

import { HISTORY, STATES, makeFrame, percent, shortNumber, shortTime, sortRows } from "./model.js";
import { makePlot } from "./plot.js";

const PERIOD_MS = 1000, PATIENCE_MS = 10000, RETRY_MS = 2000;
const CORES_SHOWN = 512, FUNCTIONS_SHOWN = 200; // what a browser draws each second without effort
const TOKEN = "warmcore-token";

const by = (id) => document.getElementById(id);
const history = []; // of {rate, cold, wait, service, busy, pending, functions: Map of name to {rate, wait, service}}
let last = null, paused = false, timer = 0, chosen = null;
const sorted = { functions: ["rate", false], shards: ["shard", true], tags: ["cores", false] };

function element(name, text, className) {
	const made = document.createElement(name);

	if (text !== undefined)
		made.textContent = text;
	if (className)
		made.className = className;
	return made;
}

// Only what has changed is touched: a screen reader and a selection stay where they are.
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function setAttribute(node, name, value) {
	if (node.getAttribute(name) !== value)
		node.setAttribute(name, value);
}

// As many children as there are rows.
function fill(parent, count, make) {
	while (parent.children.length > count)
		parent.lastElementChild.remove();
	while (parent.children.length < count)
		parent.append(make());
}

function say(kind, text) {
	setText(by("status"), text);
	setAttribute(by("status"), "data-kind", kind);
}

// --- what is shown ---

const TILES = [
	["cores busy", (f) => percent(f.busy)],
	["invocations /s", (f) => shortNumber(f.rate.invocations)],
	["mean wait", (f) => shortTime(f.wait)],
	["mean service", (f) => shortTime(f.service)],
	["cold starts /s", (f) => shortNumber(f.rate.cold_starts)],
	["errors /s", (f) => shortNumber(f.rate.errors)],
	["BUSY /s", (f) => shortNumber(f.rate.busy)],
	["steals /s", (f) => shortNumber(f.rate.steals)],
	["pending", (f) => `${f.node.pending} of ${f.node.pending_max}`],
	["instances", (f) => String(f.node.instances)],
];

function drawTiles(frame) {
	fill(by("tiles"), TILES.length, () => {
		const box = element("div");

		box.append(element("dt"), element("dd"));
		return box;
	});
	TILES.forEach(([title, value], i) => {
		const box = by("tiles").children[i];

		setText(box.firstElementChild, title);
		setText(box.lastElementChild, value(frame));
	});
}

const plots = [
	[makePlot(by("plots"), { title: "A second", format: shortNumber,
		series: [{ name: "invocations", className: "one" }, { name: "cold starts", className: "two" }] }), "rate", "cold"],
	[makePlot(by("plots"), { title: "Mean latency", format: shortTime,
		series: [{ name: "wait", className: "two" }, { name: "service", className: "one" }] }), "wait", "service"],
	[makePlot(by("plots"), { title: "Cores busy", format: percent, series: [{ name: "busy", className: "one" }] }), "busy"],
	[makePlot(by("plots"), { title: "Pending queue", format: shortNumber, series: [{ name: "waiting", className: "two" }] }), "pending"],
];

function remember(frame) {
	history.push({ rate: frame.rate.invocations, cold: frame.rate.cold_starts, wait: frame.wait, service: frame.service,
		busy: frame.busy, pending: frame.node.pending,
		functions: new Map(frame.functions.filter((f) => f.rate).map((f) => [f.name, f])) });
	if (history.length > HISTORY)
		history.shift();
}

// Of the node, or of the function that was chosen in the table: then its rates and times.
function drawPlots() {
	const of = (point, key) => {
		if (chosen === null || key === "busy" || key === "pending")
			return point[key];
		const f = point.functions.get(chosen);

		if (key === "rate" || key === "cold")
			return point.rate === null ? null : (key === "rate" ? f?.rate : f?.coldRate) ?? 0;
		return f?.[key] ?? null;
	};

	for (const [plot, ...keys] of plots)
		plot.update(keys.map((key) => history.map((point) => of(point, key))), HISTORY);
	setText(by("plots-of"), chosen === null ? "" : `of ${chosen}; cores and queue of the node`);
}

function drawCores(frame) {
	const shown = frame.cores.slice(0, CORES_SHOWN);

	setText(by("legend"), STATES.map((state) => `${frame.states[state]} ${state}`).join(", "));
	fill(by("cores"), shown.length, () => {
		const item = element("li");

		item.append(element("span"), element("span", "", "what"), element("span", "", "tags"));
		return item;
	});
	shown.forEach((core, i) => {
		const item = by("cores").children[i], [head, what, tags] = item.children;
		const time = core.name && core.for_us > 1e6 ? ` ${shortTime(core.for_us)}` : "";

		setAttribute(item, "data-state", core.state);
		setText(head, `${core.core}: ${core.state}${core.busy === null ? "" : ` ${percent(core.busy)}`}`);
		setText(what, core.name + time);
		setText(tags, core.tags.length ? `warm: ${core.tags.join(" ")}` : "");
		setAttribute(item, "title", `core ${core.core}, shard ${core.shard}, ${core.state}${core.name && `, runs ${core.name}`}` +
			(core.tags.length ? `, warm for ${core.tags.join(", ")}` : ", not warm"));
	});
	setText(by("cores-more"), frame.cores.length > CORES_SHOWN ? `and ${frame.cores.length - CORES_SHOWN} more: warmcore top` : "");
}

const FUNCTION_COLUMNS = [
	["name", "function", (f) => f.name],
	["rate", "rate /s", (f) => shortNumber(f.rate)],
	["wait", "wait", (f) => shortTime(f.wait)],
	["service", "service", (f) => shortTime(f.service)],
	["load", "load", (f) => shortNumber(f.load)],
	["running", "running", (f) => (f.limit ? `${f.running}/${f.limit}` : String(f.running))],
	["waiting", "waiting", (f) => String(f.waiting)],
	["warm", "warm on", (f) => String(f.warm)],
	["coldRate", "cold /s", (f) => shortNumber(f.coldRate)],
	["errorRate", "errors /s", (f) => shortNumber(f.errorRate)],
	["invocations", "total", (f) => String(f.invocations)],
];
const TAG_COLUMNS = [
	["tag", "library set or runtime", (t) => t.tag],
	["functions", "functions", (t) => String(t.functions)],
	["cores", "warm on", (t) => String(t.cores)],
];
const SHARD_COLUMNS = [
	["shard", "shard", (s) => (s.shard < 64 ? String(s.shard) : `reserve ${s.shard - 64}`)],
	["cores", "cores", (s) => String(s.cores)],
	["free", "free", (s) => String(s.free)],
	["pending", "pending", (s) => String(s.pending)],
	["queuedRate", "queued /s", (s) => shortNumber(s.queuedRate)],
	["stolenRate", "stolen /s", (s) => shortNumber(s.stolenRate)],
];

// A table whose titles sort it. press: what a press on the first cell's button does, or nothing.
function drawTable(id, columns, rows, press) {
	const table = by(id), [key, ascending] = sorted[id];

	if (!table.tHead) {
		const row = table.createTHead().insertRow();

		table.createTBody();
		for (const [name, title] of columns) {
			const head = element("th"), button = element("button", title);

			head.scope = "col";
			button.type = "button";
			button.addEventListener("click", () => {
				sorted[id] = [name, sorted[id][0] === name ? !sorted[id][1] : ["name", "shard", "tag"].includes(name)];
				draw();
			});
			head.append(button);
			row.append(head);
		}
	}
	columns.forEach(([name], i) => {
		const head = table.tHead.rows[0].cells[i];

		if (name === key)
			setAttribute(head, "aria-sort", ascending ? "ascending" : "descending");
		else
			head.removeAttribute("aria-sort");
	});
	fill(table.tBodies[0], rows.length, () => {
		const row = element("tr");

		columns.forEach(() => row.append(element("td")));
		if (press) {
			const button = element("button");

			button.type = "button";
			button.addEventListener("click", () => press(button.textContent));
			row.firstElementChild.append(button);
		}
		return row;
	});
	rows.forEach((row, i) => {
		const cells = table.tBodies[0].rows[i].cells;

		columns.forEach(([, , value], c) => setText(press && !c ? cells[c].firstElementChild : cells[c], value(row)));
		if (press)
			setAttribute(cells[0].firstElementChild, "aria-pressed", String(row.name === chosen));
	});
}

function drawFunctions(frame) {
	const filter = by("filter").value.toLowerCase();
	const found = frame.functions.filter((f) => f.name.toLowerCase().includes(filter));
	const rows = sortRows(found, ...sorted.functions).slice(0, FUNCTIONS_SHOWN);

	drawTable("functions", FUNCTION_COLUMNS, rows, (name) => {
		chosen = chosen === name ? null : name;
		draw();
	});
	setText(by("functions-more"), `${rows.length} of ${frame.functions.length}` +
		(found.length > rows.length ? "; a filter or another order shows others" : ""));
}

function draw() {
	if (!last)
		return;
	const node = last.node;

	setText(by("node"), node.name);
	setText(by("about"), `${node.version}, pid ${node.pid}, up ${shortTime(node.uptime_s * 1e6)}, datapath ${node.datapath}, policy ` +
		`${node.policy}, threads placed by ${node.placement}`);
	document.title = `${node.name} - warmcore`;
	drawTiles(last);
	drawPlots();
	drawCores(last);
	drawTable("shards", SHARD_COLUMNS, sortRows(last.shards, ...sorted.shards));
	drawTable("tags", TAG_COLUMNS, sortRows(last.tags, ...sorted.tags));
	drawFunctions(last);
}

// --- asking ---

function needKey(why) {
	by("login").hidden = false;
	setText(by("login-why"), why);
	say("bad", "a key is needed");
	last = null; // somebody else may sit here by now
	history.length = 0;
}

async function reason(response) {
	try {
		const body = await response.json();

		return String(body.message ?? body.Message ?? "").slice(0, 500);
	} catch {
		return "";
	}
}

// Returns for how long not to ask again; 0: never, until somebody does something.
async function ask() {
	const token = sessionStorage.getItem(TOKEN);
	let response;

	try {
		response = await fetch("../system/live", { cache: "no-store", credentials: "omit", redirect: "error",
			headers: token ? { authorization: `Bearer ${token}` } : {}, signal: AbortSignal.timeout(PATIENCE_MS) });
		if (response.status === 401 || response.status === 403) {
			const why = await reason(response);

			if (sessionStorage.getItem(TOKEN) !== token) // another one has come meanwhile
				return 1;
			sessionStorage.removeItem(TOKEN);
			needKey(why);
			return 0;
		}
		if (!response.ok) {
			say("bad", `no answer of the node: ${await reason(response) || response.status}`);
			return RETRY_MS;
		}
		last = makeFrame(await response.json(), last);
	} catch (error) {
		say("bad", error.name === "TimeoutError" ? "the gateway does not answer in time" : "the gateway is not there");
		return RETRY_MS;
	}
	by("login").hidden = true;
	say("good", "live");
	remember(last);
	draw();
	return PERIOD_MS;
}

async function turn() {
	clearTimeout(timer);
	timer = 0;
	if (paused || document.hidden || turn.busy)
		return;
	turn.busy = true;
	const begun = performance.now(), pause = await ask().finally(() => {
		turn.busy = false;
	});

	if (pause)
		timer = setTimeout(turn, Math.max(100, pause - (performance.now() - begun)));
}

by("pause").addEventListener("click", () => {
	paused = !paused;
	setAttribute(by("pause"), "aria-pressed", String(paused));
	if (paused)
		say("wait", "paused");
	turn();
});
by("filter").addEventListener("input", draw);
by("login-form").addEventListener("submit", (event) => {
	event.preventDefault();
	sessionStorage.setItem(TOKEN, by("token").value.trim());
	by("token").value = "";
	turn();
});
document.addEventListener("visibilitychange", turn); // nobody looks: nobody asks
turn();
