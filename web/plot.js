// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// plot.js - lines over the last frames, as SVG. A hundred lines instead of a library: libraries of Debian (libjs-dygraphs, libjs-chart.js)
// are 50 to 200 KB of somebody's code each, and draw on a canvas, which follows neither the colours of the system nor a screen reader.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240, HEIGHT = 100;

function svg(name, attributes) {
	const element = document.createElementNS(SVG, name);

	for (const [key, value] of Object.entries(attributes))
		element.setAttribute(key, value);
	return element;
}

// 1, 2 or 5 times a power of ten: an axis that does not jump with each frame.
export function niceTop(value) {
	if (!(value > 0))
		return 1;
	const power = 10 ** Math.floor(Math.log10(value));

	return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}

// Where nothing is known (null) the line has a gap; a single point is a short dash.
export function linePath(values, top, length) {
	let path = "", open = false;

	values.forEach((value, i) => {
		if (value === null) {
			open = false;
			return;
		}
		const x = ((length - values.length + i) * WIDTH) / (length - 1), y = HEIGHT - (Math.min(value, top) * HEIGHT) / top;

		path += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
		if (!open && (values[i + 1] ?? null) === null)
			path += "h1";
		open = true;
	});
	return path;
}

// A plot with up to two lines: {title, series: [{name, className}], format(value)}. update() takes an array of values for each line.
export function makePlot(parent, { title, series, format }) {
	const figure = document.createElement("figure"), caption = document.createElement("figcaption");
	const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
	const name = document.createElement("b"), values = series.map(() => document.createElement("span"));
	const lines = series.map((one) => svg("path", { class: one.className }));
	const axis = document.createElement("div"), low = document.createElement("span"), high = document.createElement("span");

	name.textContent = title;
	caption.append(name);
	series.forEach((one, i) => {
		values[i].className = one.className;
		caption.append(" ", values[i]);
	});
	for (const y of [0, HEIGHT / 2, HEIGHT])
		picture.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y }));
	picture.append(...lines);
	axis.className = "axis";
	axis.setAttribute("aria-hidden", "true");
	axis.append(low, high);
	figure.append(caption, picture, axis);
	parent.append(figure);
	return {
		update(data, length) {
			const top = niceTop(Math.max(0, ...data.flat().filter((value) => value !== null)));
			const last = data.map((line, i) => `${series[i].name} ${format(line.at(-1) ?? null)}`);

			data.forEach((line, i) => {
				lines[i].setAttribute("d", linePath(line, top, length));
				values[i].textContent = last[i];
			});
			low.textContent = `${length} s ago`;
			high.textContent = `top ${format(top)}`;
			picture.setAttribute("aria-label", `${title}: now ${last.join(", ")}; the highest is below ${format(top)}`);
		},
	};
}
