// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// model.js - of two answers of /system/live: rates, parts of time, means. Knows neither the page nor the network, so tests call it by itself.

export const STATES = ["offline", "free", "claimed", "running", "parked"];
export const HISTORY = 120; // frames that plots show

// {columns, rows} of the answer as objects.
function objects(table) {
	return table.rows.map((row) => Object.fromEntries(table.columns.map((name, i) => [name, row[i]])));
}

// Counters only grow: what is smaller began anew, as a core does when the node is started again.
function grown(before, now) {
	return now >= before ? now - before : now;
}

// A frame of the answer and the one before it (null: none, then rates and means are null). `raw` is what the next one needs.
export function makeFrame(answer, before) {
	const frame = { node: answer.node, at: answer.at_us, cores: objects(answer.cores), functions: objects(answer.functions),
		shards: objects(answer.shards), tags: objects(answer.tags), counters: answer.counters };
	const old = before && before.node.pid === frame.node.pid && before.at < frame.at && before.cores.length === frame.cores.length
		? before : null;
	const seconds = old ? (frame.at - old.at) / 1e6 : null;
	const rate = (was, now) => (old ? grown(was, now) / seconds : null);
	const names = new Map(frame.functions.map((f) => [f.id, f.name]));
	const key = (f) => `${f.id & 4095} ${f.name}`; // its slot: the id of a new version differs above that, and its counts go on
	const was = new Map(old ? old.functions.map((f) => [key(f), f]) : []);
	const running = new Map(), warm = new Map();
	let busy = 0, counted = 0;

	frame.seconds = seconds;
	frame.states = Object.fromEntries(STATES.map((state) => [state, 0]));
	frame.cores.forEach((core, i) => {
		core.core = i;
		core.state = STATES[core.state] ?? "?";
		frame.states[core.state] = (frame.states[core.state] ?? 0) + 1;
		core.name = core.function ? names.get(core.function) ?? "?" : "";
		for (const id of core.warm)
			warm.set(id, (warm.get(id) ?? 0) + 1);
		if (core.function)
			running.set(core.function, (running.get(core.function) ?? 0) + 1);
		core.tags = core.warm.map((id) => names.get(id)).filter((name) => name !== undefined);
		core.busy = old ? Math.min(1, Math.max(0, (core.busy_us - old.cores[i].busy_us) / 1e6 / seconds)) : null;
		core.rate = old ? rate(old.cores[i].claims, core.claims) : null;
		if (core.state !== "offline" && core.state !== "parked") {
			busy += core.busy ?? 0;
			counted++;
		}
	});
	const none = { invocations: 0, errors: 0, cold_starts: 0, wait_us: 0, service_us: 0 };
	const all = { ended: 0, wait: 0, service: 0 };
	frame.rate = { invocations: old && 0, errors: old && 0, cold_starts: old && 0 };
	for (const f of frame.functions) {
		let o = was.get(key(f)) ?? none;

		if (f.invocations < o.invocations)
			o = none;
		const ended = f.invocations - o.invocations;
		f.running = running.get(f.id) ?? 0;
		f.warm = warm.get(f.id) ?? 0;
		f.rate = rate(o.invocations, f.invocations);
		f.errorRate = rate(o.errors, f.errors);
		f.coldRate = rate(o.cold_starts, f.cold_starts);
		f.load = old ? grown(o.service_us, f.service_us) / 1e6 / seconds : null;
		f.wait = old && ended ? grown(o.wait_us, f.wait_us) / ended : null;
		f.service = old && ended ? grown(o.service_us, f.service_us) / ended : null;
		if (old) {
			frame.rate.invocations += f.rate;
			frame.rate.errors += f.errorRate;
			frame.rate.cold_starts += f.coldRate;
			all.ended += ended;
			all.wait += ended && grown(o.wait_us, f.wait_us);
			all.service += ended && grown(o.service_us, f.service_us);
		}
	}
	frame.wait = all.ended ? all.wait / all.ended : null;
	frame.service = all.ended ? all.service / all.ended : null;
	for (const name of ["packets", "busy", "steals", "queued"])
		frame.rate[name] = rate(old?.counters[name], frame.counters[name]);
	frame.shards.forEach((shard) => {
		const o = old?.shards.find((other) => other.shard === shard.shard);

		shard.queuedRate = o ? rate(o.queued, shard.queued) : null;
		shard.stolenRate = o ? rate(o.stolen, shard.stolen) : null;
	});
	frame.busy = old && counted ? busy / counted : null;
	return frame;
}

export function shortNumber(value) {
	if (value === null || value === undefined)
		return "–";
	if (value >= 1e6)
		return (value / 1e6).toFixed(1) + "M";
	if (value >= 1e5)
		return (value / 1e3).toFixed(0) + "k";
	return value === 0 ? "0" : value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

// Of microseconds.
export function shortTime(us) {
	if (us === null || us === undefined)
		return "–";
	if (us < 1000)
		return us.toFixed(us < 100 ? 1 : 0) + " µs";
	if (us < 1e6)
		return (us / 1e3).toFixed(us < 1e5 ? 1 : 0) + " ms";
	return (us / 1e6).toFixed(us < 1e8 ? 1 : 0) + " s";
}

export function percent(part) {
	return part === null ? "–" : (part * 100).toFixed(part < 0.1 ? 1 : 0) + " %";
}

// Rows by a column; null last, whichever way round. What is equal stays as it was.
export function sortRows(rows, key, ascending) {
	return [...rows].sort((a, b) => {
		const x = a[key] ?? null, y = b[key] ?? null;

		if (x === null || y === null)
			return (x === null) - (y === null);
		return (x < y ? -1 : x > y ? 1 : 0) * (ascending ? 1 : -1);
	});
}
