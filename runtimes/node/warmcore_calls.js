// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * warmcore_calls.js - what a JavaScript function may use of the node it runs on: calls of other functions, objects and streams of its workflow.
 * It is the global `warmcore`; docs/CALLS.md is the author's view of it, runtimes/abi/channel.h what goes over the channel.
 */
'use strict';

const FLAG_BINARY = 1, FLAG_FAILED = 8, FLAG_TRY = 16; // WC_CHANNEL_FLAG_*
const NAME_MAX = 223; // WC_CHANNEL_CALL_NAME, less its 0
const RUN = 0, START = 1, ANY = 3, CANCEL = 4, PUT = 5, GET = 6, DELETE = 7, SEND = 8, RECEIVE = 9, CLOSE = 10, CHECK = 12; // enum wc_channel_how
const START_VERSION = 0x10000; // WC_CHANNEL_START_VERSION
const END = 1; // number of the RESULT of RECEIVE: the end of the stream
const EVENTS_MAX = 256; // calls that nobody waits for, at a time: after that, the next one waits until one of them has ended

class InvokeError extends Error {
  constructor({ errorType = 'Unknown', errorMessage = '', stackTrace = [] }) {
    super(`${errorType}: ${errorMessage}`);
    Object.assign(this, { name: 'InvokeError', errorType, errorMessage, stackTrace });
  }
}

/*
 * What a function may use of the node it runs on: the global `warmcore`, as in docs/CALLS.md. `channel` is there while an invocation is under way.
 * invoke() begins a call at once. When the handler has nothing else to do, the process blocks until one of them has ended: what is called has the
 * core meanwhile. `waiting` has what to do with the result of each call, by its number: (flags, payload, lost), or () when the invocation is
 * over. `moves` are what streams have no message or no room for yet.
 */
const calls = { channel: null, waiting: new Map(), events: new Set(), moves: [], begun: 0, version: '', scheduled: false, turns: 0 };
const NOTHING = Buffer.alloc(0);

function checkName(name, of) {
  if (typeof name !== 'string') throw new TypeError(`the name of ${of} is a string, not ${typeof name}`);
  if (name.includes('\0')) throw new RangeError(`the name of ${of} has no 0 in it`);
  if (Buffer.byteLength(name) > NAME_MAX) throw new RangeError(`the name of ${of} is too long`);
}

/* [flags, bytes] of a value. */
function bytesOf(value) {
  if (value instanceof ArrayBuffer) return [FLAG_BINARY, new Uint8Array(value)];
  if (ArrayBuffer.isView(value)) return [FLAG_BINARY, new Uint8Array(value.buffer, value.byteOffset, value.byteLength)];
  const text = JSON.stringify(value === undefined ? null : value);
  if (text === undefined) throw new TypeError(`JSON has no ${typeof value}`);
  return [0, Buffer.from(text)];
}

function say(how, number, name, payload) {
  if (!calls.channel) throw new Error('functions can be called, and objects and streams be used, during an invocation only');
  return calls.channel.call(how, number, name, payload);
}

function call(how, name, event) {
  checkName(name, 'a function');
  return say(how, 0, name, bytesOf(event)[1]);
}

function errorOf(payload) {
  let error;
  try {
    error = JSON.parse(payload.toString());
  } catch {
    // the node had no memory for one
  }
  return new InvokeError(error !== null && typeof error === 'object' ? error : {});
}

function valueOf(flags, payload) {
  if (flags & FLAG_FAILED) throw errorOf(payload);
  if (flags & FLAG_BINARY) return payload;
  return payload.length ? JSON.parse(payload.toString()) : undefined;
}

/* Block until a call has ended. */
function takeOne() {
  const [flags, number, payload] = calls.channel.call(ANY, 0, '', NOTHING);
  if (calls.events.delete(number)) return;
  const done = calls.waiting.get(number);
  if (!done) { // the node could not say which: asked again it would say no more
    const all = [...calls.waiting.values()];
    calls.waiting.clear();
    calls.events.clear();
    for (const other of all) other(FLAG_FAILED, payload, true);
    return;
  }
  calls.waiting.delete(number);
  done(flags, payload);
}

function collect() {
  if (calls.turns > 0) {
    calls.turns--;
    setImmediate(collect);
    return;
  }
  calls.scheduled = false;
  if (!calls.channel) return;
  if (calls.moves.length) moveOne();
  else if (calls.waiting.size) takeOne();
  schedule();
}

function schedule() {
  if (calls.scheduled || (!calls.waiting.size && !calls.moves.length)) return;
  calls.scheduled = true;
  setImmediate(collect);
}

/* [number], or [0, the error object]. With `client`, the bytes of a client context for what is called, `calls.version` is the version that runs. */
function start(name, event, client) {
  checkName(name, 'a function');
  const bytes = bytesOf(event)[1];
  const [flags, number, payload] = client ?
    say(START, START_VERSION | client.length, name, client.length ? Buffer.concat([client, bytes]) : bytes) :
    say(START, 0, name, bytes);
  if (flags & FLAG_FAILED) return [0, payload];
  calls.version = payload.toString();
  return [number];
}

/*
 * Begin a call: `calls.begun` is its number. Or return the error object of the node that it refuses it with. `turns` of the event loop pass before
 * the process blocks for the result: what else comes in over sockets is begun meanwhile.
 */
function begin(name, event, done, turns, client) {
  const [number, refused] = start(name, event, client);
  if (refused) return refused;
  calls.begun = number;
  calls.waiting.set(number, done);
  calls.turns = turns;
  schedule();
  return undefined;
}

/* The same for a call that nobody waits for. */
function beginEvent(name, event, client) {
  while (calls.channel && calls.events.size >= EVENTS_MAX) takeOne();
  const [number, refused] = start(name, event, client);
  if (refused) return refused;
  calls.events.add(number);
  return undefined;
}

/* Whether it may be called, of which nothing runs: `calls.version` is the version. Or return the error object. */
function find(name) {
  const [flags, , payload] = say(CHECK, 0, name, NOTHING);
  if (flags & FLAG_FAILED) return payload;
  calls.version = payload.toString();
  return undefined;
}

/* An AbortSignal in the options cancels the call: it does not begin any more, or its process is ended. */
function invoke(name, event, { signal } = {}) {
  return new Promise((resolve, reject) => {
    if (signal) signal.throwIfAborted();
    let number;
    const abort = () => {
      say(CANCEL, number, '', NOTHING);
      reject(signal.reason);
    };
    const refused = begin(name, event, (flags, payload) => {
      if (signal) signal.removeEventListener('abort', abort);
      if (payload === undefined) return; // over: not answered any more
      try {
        resolve(valueOf(flags, payload));
      } catch (error) {
        reject(error);
      }
    }, 0);
    if (refused) throw errorOf(refused);
    number = calls.begun;
    if (signal) signal.addEventListener('abort', abort, { once: true });
  });
}

function invokeSync(name, event) {
  const [flags, , payload] = call(RUN, name, event);
  return valueOf(flags, payload);
}

// --- objects and streams of the workflow --------------------------------------------------------------------------

/* What is done at once. */
function use(how, name, number = 0, payload = NOTHING) {
  const [flags, , result] = say(how, number, name, payload);
  return valueOf(flags, result);
}

function put(name, value) {
  checkName(name, 'an object');
  use(PUT, name, ...bytesOf(value));
}

function get(name) {
  checkName(name, 'an object');
  return use(GET, name);
}

function remove(name) {
  checkName(name, 'an object');
  use(DELETE, name);
}

/* Try what a stream has been asked for, or wait for it. { value } or { error }, of which { stalled } if the whole workflow waits; undefined: it would wait. */
function attempt(move, wait) {
  try {
    const [flags, number, payload] = say(move.how, wait ? move.flags : move.flags | FLAG_TRY, move.name, move.payload);
    if (!(flags & FLAG_FAILED)) return { value: number === END ? undefined : flags & FLAG_BINARY || payload.length ? valueOf(flags, payload) : null };
    const error = errorOf(payload);
    return error.errorType === 'Node.WouldWait' ? undefined : { error, stalled: error.errorType === 'Node.StreamStalled' };
  } catch (error) {
    return { error }; // it is too large; or what came is no JSON
  }
}

function settle(move, { value, error }) {
  if (error) move.reject(error);
  else move.resolve(value);
}

function isFirst(move, index) {
  return calls.moves.findIndex((other) => other.how === move.how && other.name === move.name) === index;
}

/* Of what streams have been asked for, do what is possible now; what is asked twice of one stream in its order. */
function moveSome() {
  for (let i = 0; i < calls.moves.length; i++) {
    const move = calls.moves[i], outcome = isFirst(move, i) && attempt(move);
    if (!outcome) continue;
    calls.moves.splice(i, 1);
    settle(move, outcome);
    return true;
  }
  return false;
}

/*
 * Block until something was done: for the oldest. When the whole workflow waits, another one of them may be what it waits for, or a call that has
 * ended; only when there is neither, it has stalled.
 */
function moveOne() {
  if (moveSome()) return;
  const outcome = attempt(calls.moves[0], true);
  if (outcome.stalled && moveSome()) return;
  if (outcome.stalled && calls.waiting.size) {
    takeOne();
    return;
  }
  settle(calls.moves.shift(), outcome);
}

/* At once if that is possible, and nobody was there before. */
function moveLater(how, name, flags, payload) {
  return new Promise((resolve, reject) => {
    const move = { how, name, flags, payload, resolve, reject };
    const waits = calls.moves.some((other) => other.how === how && other.name === name);
    const outcome = !waits && attempt(move);
    if (outcome) {
      settle(move, outcome);
      return;
    }
    move.payload = Buffer.from(payload); // its caller may write to it from now on
    calls.moves.push(move);
    calls.turns = 0;
    schedule();
  });
}

/* What warmcore.stream() returns. */
class Stream {
  constructor(name) {
    checkName(name, 'a stream');
    Object.defineProperty(this, 'name', { value: name, enumerable: true });
  }

  send(value) {
    return moveLater(SEND, this.name, ...bytesOf(value));
  }

  receive() {
    return moveLater(RECEIVE, this.name, 0, NOTHING);
  }

  close() {
    use(CLOSE, this.name);
  }

  async* [Symbol.asyncIterator]() {
    for (let value = await this.receive(); value !== undefined; value = await this.receive()) yield value;
  }
}

/* The invocation is over: what it has not waited for is not answered any more. */
function endCalls() {
  const left = calls.waiting.size ? [...calls.waiting.values()] : [];
  calls.channel = null;
  calls.waiting.clear();
  calls.events.clear();
  calls.moves.length = 0;
  for (const done of left) done();
}

Object.defineProperty(globalThis, 'warmcore', {
  value: Object.freeze({ invoke, invokeSync, put, get, delete: remove, stream: (name) => new Stream(name), InvokeError }),
  configurable: true, writable: true,
});

module.exports = { calls, begin, beginEvent, find, endCalls };
