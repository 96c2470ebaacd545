// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* bulk.c in JavaScript. */
'use strict';

exports.handler = async (event) => {
  const first = event.subarray(0, 1).toString();
  if (first === '=') return event;
  if (first === 'w') {
    await new Promise((resolve) => setTimeout(resolve, parseInt(event.subarray(1, 15).toString(), 10)));
    return event;
  }
  if (first === 'x') process.kill(process.pid, 'SIGKILL');
  if (first >= '0' && first <= '9') {
    const bytes = Buffer.alloc(parseInt(event.toString(), 10));
    for (let i = 0; i < bytes.length; i++) bytes[i] = i * 7 + (i >> 12);
    return bytes;
  }
  let sum = 0;
  for (const byte of event) sum += byte;
  return Buffer.from(`${event.length} ${sum}`);
};
