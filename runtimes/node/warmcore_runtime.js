// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * warmcore_runtime.js - the process that runs one JavaScript function: exports.handler = async (event, context).
 *
 * Started by the core agent with the environment that runtimes/abi/channel.h describes. Loads the function, says READY
 * or INIT_ERROR, then serves one request at a time until SHUTDOWN. docs/RUNTIMES.md is the author's view of it.
 * Node.js 18 or later, no dependencies; warmcore_channel.node beside this file for the futex transport.
 *
 * Between two invocations the process blocks in the channel, event loop and all: what a handler left running
 * (a timer, a promise that nobody awaits) stands still until the next invocation, as on AWS Lambda. While a handler's
 * promise is pending the event loop runs freely.
 */
'use strict';

const fs = require('fs');
const path = require('path');

const { calls, begin, beginEvent, find, endCalls } = require('./warmcore_calls.js');

const INVOKE = 1, SHUTDOWN = 2, READY = 3, INIT_ERROR = 4, REPLY = 5, ERROR = 6, CALL = 8, RESULT = 9;
const FLAG_BINARY = 1, FLAG_FAREWELL = 2, FLAG_CONTEXT = 4;
const CAPACITY = 61440;
const LARGE_AT = 6356992; // WC_CHANNEL_LARGE_AT
const CONTEXT_AT = 12648448, CONTEXT_ROOM = 8192; // WC_CHANNEL_CONTEXT_AT, WC_CHANNEL_CONTEXT_ROOM
const CALL_AT = 12656640, CALL_SIZE = 256, CALL_NAME_AT = 32; // WC_CHANNEL_CALL_AT, struct wc_channel_call
const RESULT_AT = 18952192; // WC_CHANNEL_RESULT_AT
const LARGE = 6291456; // WC_CHANNEL_LARGE
const HEADER_SIZE = 64; // struct wc_message: sequence, kind, length, flags (32 bits), request_id, deadline_ns (64 bits)
const SEQUENCE = 0, KIND = 1, LENGTH = 2, FLAGS = 3, REQUEST_ID = 4, DEADLINE = 6, ANSWER_MAX = 9, CONTEXT = 15; // indices of 32-bit words

/*
 * After an invocation, nextTick callbacks and promise reactions run before the next request is looked at. A full turn
 * of the event loop (timers, finished I/O, detection of unhandled rejections) costs more than a third of a no-op
 * invocation; a handler that settles without one gets it at every so many invocations.
 */
const TURN_EVERY = 16;

const STACK_LINES_MAX = 64;
const NO_DEADLINE_MS = 2 ** 31 - 1;
const EXIT_FATAL = 128; // after an uncaught exception or an unhandled rejection, as AWS's runtime does

// --- the channel: two ways to the same interface ---------------------------------------------------------------------
//
// next(): payload length, or -1 when the instance shall exit. Then: head (Uint32Array over the request's message),
// input + inputOf(length) (Buffer with the payload). Answers: write at most answerMax() bytes at output[outputAt], then answer(kind, flags,
// length). Between the two: call(how, number, name, payload) -> [flags, number, Buffer with a copy of the result].

class FutexChannel {
  constructor(spec) {
    const native = require('./warmcore_channel.node');
    const memory = native.open(spec);
    this.head = new Uint32Array(memory, HEADER_SIZE, HEADER_SIZE / 4);
    this.input = this.output = Buffer.from(memory);
    this.inputAt = 3 * HEADER_SIZE;
    this.outputAt = this.inputAt + CAPACITY;
    this.load = native.load;
    this.next = native.next;
    this.answer = native.answer;
    this.callNative = native.call;
  }

  call(how, number, name, payload) {
    if (payload.length > LARGE) throw new RangeError(`the payload is ${payload.length} bytes, the limit is ${LARGE} bytes`);
    if (this.output.length < RESULT_AT + LARGE) throw new Error('Function not implemented: this node runs no calls');
    this.output.set(payload, CALL_AT + CALL_SIZE);
    const flags = this.callNative(how, number, name, payload.length);
    return [flags, this.head[CONTEXT], Buffer.from(this.input.subarray(RESULT_AT, RESULT_AT + this.head[LENGTH]))];
  }

  inputOf(length) {
    return length <= CAPACITY ? this.inputAt : LARGE_AT;
  }

  contextOf() {
    return CONTEXT_AT;
  }

  answerMax() {
    return this.head[ANSWER_MAX] || CAPACITY;
  }
}

class SocketChannel {
  constructor(spec) {
    this.fd = Number(spec.slice('socket:'.length));
    this.input = Buffer.alloc(HEADER_SIZE + CAPACITY + CONTEXT_ROOM + 1); // the extra byte shows a datagram that is too long
    this.output = Buffer.alloc(HEADER_SIZE + CAPACITY);
    this.head = new Uint32Array(this.input.buffer, this.input.byteOffset, HEADER_SIZE / 4);
    this.outputHead = new Uint32Array(this.output.buffer, this.output.byteOffset, HEADER_SIZE / 4);
    this.inputAt = this.outputAt = HEADER_SIZE;
  }

  inputOf() {
    return this.inputAt;
  }

  contextOf() {
    return this.inputAt + this.head[LENGTH];
  }

  answerMax() {
    return CAPACITY;
  }

  next() {
    let received;
    for (;;) {
      try {
        received = fs.readSync(this.fd, this.input, 0, this.input.length, null);
        break;
      } catch (error) {
        if (error.code === 'ECONNRESET') return -1;
        if (error.code !== 'EINTR') throw error;
      }
    }
    if (received === 0) return -1;
    const kind = this.head[KIND], length = this.head[LENGTH];
    if (received !== HEADER_SIZE + length + this.head[CONTEXT] || length > CAPACITY || (kind !== INVOKE && kind !== SHUTDOWN)) {
      throw new Error('the agent sent a malformed message');
    }
    return kind === SHUTDOWN ? -1 : length;
  }

  call(how, number, name, payload) {
    if (payload.length > CAPACITY) throw new RangeError(`the payload is ${payload.length} bytes, the limit is ${CAPACITY} bytes`);
    const message = Buffer.alloc(HEADER_SIZE + CALL_SIZE + payload.length), words = new Uint32Array(message.buffer, 0, HEADER_SIZE / 4);
    words[SEQUENCE] = this.head[SEQUENCE];
    words[KIND] = CALL;
    words[LENGTH] = payload.length;
    words[FLAGS] = how;
    words[REQUEST_ID] = this.head[REQUEST_ID];
    words[REQUEST_ID + 1] = this.head[REQUEST_ID + 1];
    message.writeUInt32LE(number, HEADER_SIZE);
    message.write(name, HEADER_SIZE + CALL_NAME_AT, CALL_SIZE - CALL_NAME_AT - 1, 'utf8');
    message.set(payload, HEADER_SIZE + CALL_SIZE);
    const answer = Buffer.alloc(HEADER_SIZE + CAPACITY + 1), head = new Uint32Array(answer.buffer, 0, HEADER_SIZE / 4);
    let received = 0;
    try {
      fs.writeSync(this.fd, message);
      received = fs.readSync(this.fd, answer, 0, answer.length, null);
    } catch (error) {
      if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error;
    }
    if (!received) process.exit(0);
    if (head[KIND] !== RESULT || received !== HEADER_SIZE + head[LENGTH]) throw new Error('the agent sent a malformed message');
    this.head[SEQUENCE] = head[SEQUENCE];
    return [head[FLAGS], head[CONTEXT], answer.subarray(HEADER_SIZE, received)];
  }

  answer(kind, flags, length) {
    const head = this.outputHead;
    head[SEQUENCE] = kind === READY || kind === INIT_ERROR ? 0 : this.head[SEQUENCE];
    head[KIND] = kind;
    head[LENGTH] = length;
    head[FLAGS] = kind === READY ? flags | FLAG_CONTEXT : flags;
    head[REQUEST_ID] = this.head[REQUEST_ID];
    head[REQUEST_ID + 1] = this.head[REQUEST_ID + 1];
    try {
      fs.writeSync(this.fd, this.output, 0, HEADER_SIZE + length);
    } catch (error) {
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') process.exit(0);
      throw error;
    }
  }
}

function openChannel() {
  const spec = process.env.WARMCORE_CHANNEL || '';
  delete process.env.WARMCORE_CHANNEL;
  if (/^futex:\d+$/.test(spec)) return new FutexChannel(spec);
  if (/^socket:\d+$/.test(spec)) return new SocketChannel(spec);
  throw new Error('WARMCORE_CHANNEL is not set to futex:FD or socket:FD: only a warmcore agent can start this program');
}

// --- a spare: started ahead, without a function (WC_CHANNEL_LOAD of channel.h) -----------------------------------------

/* The function is ours, but cannot be begun: the client is told why, as when its process cannot be started at all. */
function refuseFunction(channel, error) {
  const text = JSON.stringify({
    errorType: 'Runtime.StartError', errorMessage: `cannot start the function's process: ${error.message}`, stackTrace: [],
  });
  fs.writeSync(2, text + '\n');
  channel.answer(INIT_ERROR, 0, channel.output.write(text, channel.outputAt, CAPACITY, 'utf8'));
  process.exit(1);
}

/* Block until there is one. Then everything below is as if the process had been started for it. */
function awaitFunction(channel) {
  const length = channel.load();
  if (length < 0) process.exit(0);
  const text = channel.input.toString('utf8', channel.inputAt, channel.inputAt + length);
  for (const key of Object.keys(process.env)) delete process.env[key];
  for (const entry of text.split('\0')) {
    const at = entry.indexOf('=');
    if (at > 0) process.env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  delete process.env.WARMCORE_CHANNEL;
  process.chdir(process.env.WARMCORE_CODE);
}

let spareChannel = null;
if (process.env.WARMCORE_SPARE) {
  try {
    spareChannel = openChannel();
    spareChannel.answer(READY, 0, 0);
  } catch (error) {
    fs.writeSync(2, `warmcore_runtime.js: cannot be started ahead: ${error.message}\n`);
    process.exit(2);
  }
  try {
    awaitFunction(spareChannel);
  } catch (error) {
    refuseFunction(spareChannel, error);
  }
}

// --- context ----------------------------------------------------------------------------------------------------

const functionName = process.env.WARMCORE_FUNCTION || '';
const core = Number(process.env.WARMCORE_CORE || -1);

/* The four texts of runtimes/abi/context.h; undefined for each that is empty. */
function textsOf(channel) {
  const { input } = channel, start = channel.contextOf(), texts = [];
  let at = start + 8;
  for (let i = 0; i < 4; i++) {
    const length = input.readUInt16BE(start + 2 * i);
    texts.push(length ? input.toString('utf8', at, at + length) : undefined);
    at += length + 1;
  }
  return texts;
}

/* What came along with the invocation. */
function takeContext(channel, context) {
  const [client, traceparent, tracestate, xray] = textsOf(channel);
  Object.assign(context, { traceparent, tracestate, xrayTraceId: xray });
  if (xray) process.env._X_AMZN_TRACE_ID = xray; // as AWS's runtime does
  if (!client) return;
  try {
    context.clientContext = JSON.parse(client);
  } catch (error) {
    throw new RuntimeError('Runtime.InvalidClientContext', `The client context is not valid JSON: ${error.message}`);
  }
}

/* What AWS calls the context object, plus requestId (BigInt), core and deadlineMs (Unix time). */
class Context {
  #idLow;
  #idHigh;
  #deadlineMs; // of CLOCK_MONOTONIC, which is what process.hrtime reads; 0 = none

  constructor(head) {
    this.#idLow = head[REQUEST_ID];
    this.#idHigh = head[REQUEST_ID + 1];
    this.#deadlineMs = (head[DEADLINE + 1] * 2 ** 32 + head[DEADLINE]) / 1e6;
    if (head[FLAGS]) this.core = head[FLAGS] - 1; // an instance may have moved since it was started
    this.callbackWaitsForEmptyEventLoop = false; // AWS's default is true; here a callback answers at once unless it is set
  }

  get requestId() {
    return (BigInt(this.#idHigh) << 32n) | BigInt(this.#idLow);
  }

  get awsRequestId() {
    const hex = this.requestId.toString(16).padStart(16, '0');
    return `00000000-0000-0000-${hex.slice(0, 4)}-${hex.slice(4)}`;
  }

  getRemainingTimeInMillis() {
    if (!this.#deadlineMs) return NO_DEADLINE_MS;
    const [seconds, nanoseconds] = process.hrtime();
    return Math.max(0, Math.floor(this.#deadlineMs - seconds * 1e3 - nanoseconds / 1e6));
  }

  get deadlineMs() {
    return this.#deadlineMs ? Date.now() + this.getRemainingTimeInMillis() : 0;
  }
}
Object.assign(Context.prototype, {
  functionName,
  functionVersion: process.env.WARMCORE_VERSION || '$LATEST',
  invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${functionName}`,
  memoryLimitInMB: process.env.WARMCORE_MEMORY_MB || '128',
  logGroupName: `/warmcore/${functionName}`,
  logStreamName: `core-${core}/${process.pid}`,
  identity: undefined,
  clientContext: undefined,
  traceparent: undefined,
  tracestate: undefined,
  xrayTraceId: undefined,
  core,
});

// --- errors -----------------------------------------------------------------------------------------------------

/* An error of the runtime's own, with its type on the wire. */
class RuntimeError extends Error {
  constructor(type, message, stack = []) {
    super(message);
    this.type = type;
    this.lines = stack;
  }
}

/* Lines of the stack as AWS Lambda sends them, without this file's frames and Node's own. */
function stackOf(error) {
  if (typeof error.stack !== 'string') return [];
  return error.stack.split('\n').filter((line) => !/^\s+at /.test(line) ||
    !(line.includes(path.join(__dirname, 'warmcore_')) || line.includes('node:internal/')));
}

/* Whatever was thrown -> {errorType, errorMessage, stackTrace}. */
function describe(error) {
  try {
    if (error instanceof RuntimeError) {
      return { errorType: error.type, errorMessage: error.message, stackTrace: error.lines };
    }
    /* Not instanceof alone: errors from vm contexts and worker threads have their own Error. */
    if (error instanceof Error || Object.prototype.toString.call(error) === '[object Error]') {
      return { errorType: String(error.name), errorMessage: String(error.message), stackTrace: stackOf(error) };
    }
    return { errorType: typeof error, errorMessage: String(error), stackTrace: [] };
  } catch {
    return { errorType: 'Error', errorMessage: '<the error cannot be turned into a string>', stackTrace: [] };
  }
}

/* A JSON error object that fits: the stack goes first, from its middle, then the end of the message. */
function errorText({ errorType, errorMessage, stackTrace }) {
  const stack = stackTrace.slice();
  if (stack.length > STACK_LINES_MAX) {
    const half = STACK_LINES_MAX / 2, left = stack.length - 2 * half;
    stack.splice(half, left, `    ... ${left} lines left out ...`);
  }
  for (;;) {
    const text = JSON.stringify({ errorType, errorMessage, stackTrace: stack.length ? stack : undefined });
    if (Buffer.byteLength(text) <= CAPACITY) return text;
    if (stack.length > 2) {
      stack.splice(stack.length >> 1, 1);
    } else if (stack.length) {
      stack.length = 0;
    } else {
      errorType = errorType.slice(0, 256);
      errorMessage = errorMessage.slice(0, errorMessage.length >> 1);
    }
  }
}

function log(description) {
  const { errorType, errorMessage, stackTrace } = description;
  try {
    fs.writeSync(2, `[ERROR] ${errorType}: ${errorMessage}\n${stackTrace.map((line) => `${line}\n`).join('')}`);
  } catch {
    // no log
  }
}

function answerError(channel, kind, error) {
  const description = describe(error);
  log(description);
  const length = channel.output.write(errorText(description), channel.outputAt, CAPACITY, 'utf8');
  channel.answer(kind, 0, length);
}

// --- loading ----------------------------------------------------------------------------------------------------

async function loadModule(file) {
  if (!file.endsWith('.mjs')) {
    try {
      return require(file);
    } catch (error) {
      if (error.code !== 'ERR_REQUIRE_ESM' && error.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  return import(require('url').pathToFileURL(file).href);
}

async function loadHandler(code, handler) {
  const folder = path.posix.dirname(handler), base = path.posix.basename(handler);
  const match = /^([^.]+)\.(.+)$/.exec(base);
  if (!match || path.isAbsolute(handler) || handler.split('/').includes('..')) {
    throw new RuntimeError('Runtime.MalformedHandlerName', `Bad handler '${handler}': expected "file.export"`);
  }
  const stem = path.resolve(code, folder, match[1]);
  const file = ['.js', '.mjs', '.cjs'].map((extension) => stem + extension).find((name) => fs.existsSync(name));
  if (!file) {
    throw new RuntimeError('Runtime.ImportModuleError', `Error: Cannot find module '${match[1]}' (.js, .mjs or .cjs)`);
  }
  let module;
  try {
    module = await loadModule(file);
  } catch (error) {
    const { errorType, errorMessage, stackTrace } = describe(error);
    if (error instanceof SyntaxError) {
      throw new RuntimeError('Runtime.UserCodeSyntaxError', `${errorType}: ${errorMessage}`, stackTrace);
    }
    if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND')) {
      throw new RuntimeError('Runtime.ImportModuleError', `${errorType}: ${errorMessage}`, stackTrace);
    }
    throw error;
  }
  let found = module;
  for (const name of match[2].split('.')) {
    found = found === undefined || found === null ? undefined : found[name];
  }
  if (found === undefined && module.default) found = module.default[match[2]]; // CommonJS seen through import()
  if (typeof found !== 'function') {
    throw new RuntimeError('Runtime.HandlerNotFound', `${handler} is undefined, not exported or not a function`);
  }
  return found;
}

// --- serving ----------------------------------------------------------------------------------------------------

/* Write the result into the channel's output; returns [flags, length]. */
function marshal(channel, result, binary) {
  if (result instanceof Uint8Array || result instanceof ArrayBuffer || ArrayBuffer.isView(result)) {
    const bytes = result instanceof ArrayBuffer ? new Uint8Array(result) :
      new Uint8Array(result.buffer, result.byteOffset, result.byteLength);
    if (bytes.length <= CAPACITY || bytes.length <= channel.answerMax()) channel.output.set(bytes, channel.outputAt);
    return [FLAG_BINARY, bytes.length];
  }
  let text, flags = 0;
  if (binary && (typeof result === 'string' || result === undefined || result === null)) {
    text = result || '';
    flags = FLAG_BINARY;
  } else {
    try {
      text = JSON.stringify(result);
    } catch (error) {
      throw new RuntimeError('Runtime.MarshalError', `Unable to marshal response: ${describe(error).errorMessage}`);
    }
    if (text === undefined) {
      if (result !== undefined) {
        throw new RuntimeError('Runtime.MarshalError',
          `Unable to marshal response: a ${typeof result} has no JSON form`);
      }
      text = 'null';
    }
  }
  /* write() cuts what does not fit: measure first, but only what might not. */
  if (text.length * 3 > CAPACITY) {
    const length = Buffer.byteLength(text), max = channel.answerMax();
    if (length > max) return [flags, length];
    return [flags, channel.output.write(text, channel.outputAt, max, 'utf8')];
  }
  return [flags, channel.output.write(text, channel.outputAt, CAPACITY, 'utf8')];
}

function isThenable(value) {
  return value !== null && (typeof value === 'object' || typeof value === 'function') &&
    typeof value.then === 'function';
}

/* Functions call others with AWS's SDK. Before the function is loaded: most make their client then. */
async function serveLambda() {
  if (process.env.AWS_ENDPOINT_URL_LAMBDA !== 'warmcore') return;
  try {
    await require('./warmcore_lambda.js').serve(
      { begin, beginEvent, find, versionOf: () => calls.version, isServing: () => calls.channel !== null }, process.env);
  } catch (error) {
    throw new RuntimeError('Runtime.StartError', `AWS_ENDPOINT_URL_LAMBDA=warmcore: cannot serve Invoke on 127.0.0.1: ${error.message}`);
  }
}

function main() {
  const binary = process.env.WARMCORE_EVENT === 'binary';
  let channel, handler;
  let current = null; // the invocation that is running: an object of its own, so that a late answer is recognised
  let loading = true, leaving = false;
  let sinceTurn = 0;
  let traced = false; // the last one brought a trace along

  try {
    channel = spareChannel || openChannel();
  } catch (error) {
    fs.writeSync(2, `warmcore_runtime.js: no channel: ${error.message}\n`);
    process.exit(2);
  }

  function scheduleNext() {
    if (++sinceTurn < TURN_EVERY) {
      process.nextTick(serveNext);
    } else {
      sinceTurn = 0;
      setImmediate(serveNext);
    }
  }

  function succeed(invocation, result) {
    if (current !== invocation) return;
    let flags, length;
    try {
      [flags, length] = marshal(channel, result, binary);
      if (length > CAPACITY && length > channel.answerMax()) {
        throw new RuntimeError('Runtime.ResponseTooLarge',
          `The response is ${length} bytes, the limit is ${channel.answerMax()} bytes`);
      }
    } catch (error) {
      fail(invocation, error);
      return;
    }
    current = null;
    endCalls();
    channel.answer(REPLY, flags, length);
    scheduleNext();
  }

  function fail(invocation, error) {
    if (current !== invocation) return;
    current = null;
    endCalls();
    answerError(channel, ERROR, error);
    scheduleNext();
  }

  function parse(length) {
    const { input } = channel, inputAt = channel.inputOf(length);
    if (binary) return Buffer.from(input.subarray(inputAt, inputAt + length)); // a copy: the channel is reused
    if (length === 0) return {};
    try {
      return JSON.parse(input.toString('utf8', inputAt, inputAt + length));
    } catch (error) {
      throw new RuntimeError('Runtime.InvalidEvent', `The event is not valid JSON: ${error.message}`);
    }
  }

  /*
   * Not needed any more. Listeners for SIGTERM are called as if it had come, and the event loop runs until it is empty or one of them exits;
   * listeners for exit are called by process.exit().
   */
  function sayFarewell() {
    leaving = true;
    if (!process.listenerCount('SIGTERM')) process.exit(0);
    process.emit('SIGTERM', 'SIGTERM', 15);
  }

  function wantsFarewell() {
    return process.listenerCount('SIGTERM') > 0 || process.listenerCount('exit') > 0;
  }

  function serveNext() {
    const length = channel.next();
    if (length < 0) {
      sayFarewell();
      return;
    }
    const invocation = {};
    current = invocation;
    calls.channel = channel;
    let result;
    try {
      const context = new Context(channel.head);
      if (traced) {
        delete process.env._X_AMZN_TRACE_ID;
        traced = false;
      }
      if (channel.head[CONTEXT]) {
        traced = true;
        takeContext(channel, context);
      }
      result = handler(parse(length), context, (error, value) => {
        if (current !== invocation || invocation.answer) return;
        const answer = error !== undefined && error !== null ? () => fail(invocation, error) :
          () => succeed(invocation, value);
        if (context.callbackWaitsForEmptyEventLoop === true) invocation.answer = answer; // when the event loop is empty
        else answer();
      });
    } catch (error) {
      fail(invocation, error);
      return;
    }
    if (isThenable(result)) {
      /* The second argument, not catch(): an error inside succeed is ours and must not be taken for the handler's. */
      result.then((value) => succeed(invocation, value), (error) => fail(invocation, error));
    } else if (handler.length < 3) {
      succeed(invocation, result); // a handler that declares a callback answers through it
    }
  }

  /* The state of the program is unknown: answer, if somebody waits for an answer, and go. */
  function fatal(type, error) {
    const { errorType, errorMessage, stackTrace } = describe(error);
    const wrapped = new RuntimeError(type, `${errorType}: ${errorMessage}`, stackTrace);
    if (loading) answerError(channel, INIT_ERROR, wrapped);
    else if (current) answerError(channel, ERROR, wrapped);
    else log(describe(wrapped));
    current = null;
    endCalls();
    process.exit(EXIT_FATAL);
  }
  process.on('uncaughtException', (error) => fatal('Runtime.UncaughtException', error));
  process.on('unhandledRejection', (reason) => fatal('Runtime.UnhandledPromiseRejection', reason));

  /* The event loop is empty and nobody has answered: nothing is left that ever could. */
  process.on('beforeExit', () => {
    if (leaving) process.exit(0);
    if (loading) {
      answerError(channel, INIT_ERROR, new RuntimeError('Runtime.NodeJsExit',
        'The module never finished loading: its top-level await cannot settle'));
      process.exit(1);
    }
    if (current) {
      sinceTurn = TURN_EVERY; // only setImmediate keeps an empty loop from ending the process
      if (current.answer) current.answer();
      else fail(current, new RuntimeError('Runtime.NodeJsExit',
        'The handler neither settled its promise nor called its callback, and nothing is left that could'));
    }
  });

  serveLambda().then(() => loadHandler(process.env.WARMCORE_CODE || '.', process.env.WARMCORE_HANDLER || '')).then((found) => {
    handler = found;
    loading = false;
    channel.answer(READY, wantsFarewell() ? FLAG_FAREWELL : 0, 0);
    setImmediate(serveNext);
  }, (error) => {
    answerError(channel, INIT_ERROR, error);
    process.exit(1);
  });
}

main();
