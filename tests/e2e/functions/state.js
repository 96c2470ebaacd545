// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Objects, streams and cancelling, by the API of JavaScript: as state.py. */
'use strict';

const message = ({ kind, size }, number) =>
  kind === 'json' ? { n: number, pad: 'x'.repeat(size) } : Buffer.concat([Buffer.from(`${number} `), Buffer.alloc(size)]);
const numberOf = (value) => value instanceof Uint8Array ? Number(value.toString('latin1').split(' ')[0]) : value.n;

const steps = {
  async produce(event) {
    const stream = warmcore.stream(event.name);
    for (let number = 0; number < event.count; number++) await stream.send(message(event, number));
    stream.close();
    return event.count;
  },

  async consume({ name }) {
    let count = 0, last = -1, sorted = true;
    for await (const value of warmcore.stream(name)) {
      count++;
      sorted &&= numberOf(value) > last;
      last = numberOf(value);
    }
    return [count, sorted];
  },

  put: (event) => warmcore.put(event.name, message(event, event.count)),

  get(event) {
    const value = warmcore.get(event.name), number = numberOf(value), expected = message(event, number);
    return [number, Buffer.isBuffer(expected) ? expected.equals(value) : JSON.stringify(expected) === JSON.stringify(value)];
  },

  delete: ({ name }) => warmcore.delete(name),

  close: ({ name }) => warmcore.stream(name).close(),

  sleep: ({ count }) => new Promise((resolve) => setTimeout(resolve, count * 1000)),

  async cancel({ name }) {
    const aborting = new AbortController();
    const call = warmcore.invoke(name, { do: 'sleep', count: 100 }, { signal: aborting.signal });
    aborting.abort();
    try {
      return await call;
    } catch (error) {
      if (error.name !== 'AbortError') return error.name;
    }
    const early = await warmcore.invoke(name, {}, { signal: aborting.signal }).catch((error) => error.name);
    return early === 'AbortError' ? 'Node.Cancelled' : early;
  },

  async kind(event) {
    try {
      await steps[event.what](event);
    } catch (error) {
      return error.errorType ?? error.name;
    }
    return 'none';
  },

  /* Of JavaScript alone: two that wait for each other in one process, while a call is under way; sending without waiting, in order. */
  async special({ name }) {
    const there = warmcore.stream('there'), back = warmcore.stream('back'), out = [];
    const echo = (async () => {
      for await (const value of there) await back.send(value);
      back.close();
    })();
    const sent = [1, 2, 3].map((value) => there.send(value));
    const call = warmcore.invoke(name, { do: 'produce', name: 'other', kind: 'json', count: 2, size: 0 });
    out.push(await back.receive(), await back.receive(), await back.receive());
    await Promise.all(sent);
    there.close();
    await echo;
    out.push(await back.receive() === undefined, await call);
    const many = warmcore.stream('many'), bytes = Buffer.from([0]), sends = [];
    for (let i = 0; i < 300; i++) {
      bytes[0] = i;
      sends.push(many.send(bytes));
    }
    let wrong = 0;
    for (let i = 0; i < 300; i++) wrong += (await many.receive())[0] !== (i & 255);
    await Promise.all(sends);
    out.push(wrong);
    /* A call's result is what lets the stream go on: it is delivered although somebody waits for the stream. */
    const late = warmcore.stream('late');
    const closing = warmcore.invoke(name, { do: 'put', name: 'x', kind: 'json', count: 0, size: 0 }).then(() => late.close());
    out.push(await late.receive() === undefined);
    await closing;
    for (const value of [5, 'a\0b', 'x'.repeat(224)]) {
      try {
        warmcore.stream(value);
      } catch (error) {
        out.push(error.name);
      }
    }
    out.push(await many.send(Buffer.alloc(7e6)).catch((error) => error.name));
    return out;
  },
};

exports.handler = (event) => steps[event.do](event);
