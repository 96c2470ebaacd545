// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* relay.c in JavaScript, which says what it does. */
'use strict';

const zlib = require('zlib');

function crc32(bytes) {
  /* Of gzip's trailer: zlib.crc32() is newer than the oldest Node.js that is supported. */
  const packed = zlib.gzipSync(bytes, { level: 0 });
  return packed.readUInt32LE(packed.length - 8).toString(16).padStart(8, '0');
}

function pattern(length) {
  const out = Buffer.alloc(length);
  for (let i = 0; i < length; i++) out[i] = i * 7 + (i >> 8);
  return out;
}

async function call(name, payload) {
  try {
    return await warmcore.invoke(name, payload);
  } catch (error) {
    if (!(error instanceof warmcore.InvokeError)) throw error;
    const called = new Error(JSON.stringify({ errorType: error.errorType, errorMessage: error.errorMessage }));
    called.name = 'Called';
    throw called;
  }
}

exports.handler = async (event) => {
  let at = event.indexOf(10);
  if (at < 0) at = event.length;
  const line = event.toString('utf8', 0, at), rest = event.subarray(at + 1);
  if (!line) return rest;
  if (line[0] === '*') return pattern(Number(line.slice(1)));
  let result;
  if (line[0] === '>') {
    const [size, name] = line.slice(1).split(' ');
    result = await call(name, Buffer.concat([Buffer.from('\n'), pattern(Number(size))]));
  } else {
    result = await call(line[0] === '?' ? line.slice(1) : line, rest);
  }
  return line[0] === '>' || line[0] === '?' ? Buffer.from(`${result.length} ${crc32(result)}`) : result;
};

exports.json = async (event) => ({ result: await warmcore.invoke(event.name, event.event) });

/* A call when nobody listens. */
let late = 'nothing';
exports.late = async () => {
  setTimeout(() => warmcore.invoke('echo', Buffer.from('\nlate')).then(() => { late = 'answered'; }, (error) => { late = error.message; }), 50);
  return late;
};

exports.fan = async (event) => {
  const results = await Promise.all(Array.from({ length: event.count }, (_, i) => warmcore.invoke(event.name, Buffer.from(`\n${i}`))));
  return results.map((result) => Number(result.toString()));
};

/* One that fails, one that is not there; timers go on meanwhile. */
exports.mixed = async () => {
  let ticks = 0;
  const timer = setInterval(() => { ticks++; }, 1);
  const settled = await Promise.allSettled([warmcore.invoke('fail', {}), warmcore.invoke('none'), warmcore.invoke('echo', Buffer.from('\nx')),
    new Promise((resolve) => { setTimeout(resolve, 20); })]);
  clearInterval(timer);
  return [...settled.slice(0, 3).map(({ reason, value }) => (reason ? reason.errorType : value.toString())), ticks > 0];
};

/* It runs once at a time, so the first of its calls cannot run before it ends; the second can. */
exports.first = async () => (await Promise.race([warmcore.invoke('first-js'), warmcore.invoke('echo', Buffer.from('\nx'))])).toString();
