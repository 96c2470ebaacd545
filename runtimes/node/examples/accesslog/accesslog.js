// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * accesslog.js - sums up a web server's access log in the "combined" format, plain or gzipped: bytes in, JSON out.
 *
 * Visitors are counted by a hash of address and agent, so that the report holds no addresses. Lines that do not parse
 * are counted, not dropped in silence.
 */
'use strict';

const { createHash } = require('crypto');
const { promisify } = require('util');
const zlib = require('zlib');

const gunzip = promisify(zlib.gunzip);
const LINE = /^(\S+) \S+ \S+ \[[^:]+:(\d+)[^\]]*\] "(\S+) (\S+)[^"]*" (\d{3}) (\d+|-) "[^"]*" "([^"]*)"$/;
const TOP = 5;

const add = (map, key, amount = 1) => map.set(key, (map.get(key) || 0) + amount);
const byCount = (map) => [...map].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

exports.handler = async (event) => {
  const plain = event[0] === 0x1f && event[1] === 0x8b ? await gunzip(event) : event;
  const paths = new Map(), statuses = new Map(), hours = new Map(), failing = new Map(), visitors = new Set();
  let requests = 0, bytes = 0, malformed = 0, robots = 0;

  for (const line of plain.toString('utf8').split('\n')) {
    if (line === '') continue;
    const match = LINE.exec(line);
    if (!match) {
      malformed++;
      continue;
    }
    const [, address, hour, method, target, status, size, agent] = match;
    const route = `${method} ${target.split('?', 1)[0]}`;
    requests++;
    bytes += size === '-' ? 0 : Number(size);
    add(statuses, `${status[0]}xx`);
    add(hours, hour);
    add(paths, route);
    if (status >= '400') add(failing, `${status} ${route}`);
    if (/bot|crawl|spider/i.test(agent)) robots++;
    else visitors.add(createHash('sha256').update(`${address}\0${agent}`).digest('base64'));
  }
  return {
    requests,
    malformed,
    bytes,
    visitors: visitors.size,
    robots,
    statuses: Object.fromEntries([...statuses].sort()),
    busiest_hour: requests ? byCount(hours)[0][0] : null,
    top: byCount(paths).slice(0, TOP),
    failing: byCount(failing).slice(0, TOP),
  };
};
