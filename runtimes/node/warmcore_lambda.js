// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * warmcore_lambda.js - Lambda's Invoke on 127.0.0.1, for a function that has AWS's SDK and AWS_ENDPOINT_URL_LAMBDA=warmcore: its calls go to
 * functions of this node. docs/CALLS.md, "With AWS's SDK".
 *
 * It runs in the event loop of the function. What arrives in one turn of it is begun before the process blocks in the channel. Signatures are not looked
 * at: who knows the token in the path is the function.
 */
'use strict';

const crypto = require('crypto');
const http = require('http');

const FLAG_BINARY = 1, FLAG_FAILED = 8; // WC_CHANNEL_FLAG_*
const PAYLOAD_MAX = 6291456; // WC_CHANNEL_LARGE
const CONTEXT_MAX = 3583; // of base64, as Lambda has it
const CONNECTIONS_MAX = 128;
const TURNS = 3; // of the event loop: to take a connection, to read from it, and one to spare
const PATH = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/;
const NAME = /^(?:.*:function:)?([A-Za-z0-9_-]{1,63})(?::(\$LATEST|[A-Za-z0-9_-]{1,128}))?$/;
const QUALIFIER = /^(?:\$LATEST|[A-Za-z0-9_-]{1,128})$/;
/* What a SDK needs to sign at all, and does not look for elsewhere. */
const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'warmcore', AWS_SECRET_ACCESS_KEY: 'warmcore' };
const OTHER_CREDENTIALS = ['AWS_PROFILE', 'AWS_SHARED_CREDENTIALS_FILE', 'AWS_CONFIG_FILE', 'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI'];
/* What the node says of a call that it does not begin. */
const REFUSED = {
  'Node.UnknownFunction': [404, 'ResourceNotFoundException'],
  'Node.AccessDenied': [403, 'AccessDeniedException'],
  'Node.CallDepth': [400, 'RecursiveInvocationException'],
  'Node.TooManyCalls': [429, 'TooManyRequestsException', 'ConcurrentInvocationLimitExceeded'],
  'Node.TooManyRequests': [429, 'TooManyRequestsException', 'ReservedFunctionConcurrentInvocationLimitExceeded'],
};

/* An error of the API: not of the function that was called. */
class Refusal extends Error {
  constructor(status, errorName, message, reason) {
    super(message);
    Object.assign(this, { status, errorName, reason });
  }

  body() {
    const key = this.errorName === 'ResourceNotFoundException' || this.errorName === 'ServiceException' ? 'Message' : 'message';
    return JSON.stringify({ Type: this.status < 500 ? 'User' : 'Service', [key]: this.message, Reason: this.reason });
  }
}

function wrong(message) {
  return new Refusal(400, 'InvalidParameterValueException', message);
}

function notServing(message = 'functions can be called during an invocation only') {
  return new Refusal(409, 'ResourceConflictException', message);
}

function refusalOf(payload) {
  let error;
  try {
    error = JSON.parse(payload.toString());
  } catch {
    error = {};
  }
  const [status, name, reason] = REFUSED[error.errorType] || [500, 'ServiceException'];
  return new Refusal(status, name, String(error.errorMessage), reason);
}

function unescape(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong('the name of the function, or the query, is badly escaped');
  }
}

/* The name of what is called. */
function calleeOf(path, query) {
  const match = PATH.exec(path);
  if (!match) {
    throw new Refusal(404, 'ResourceNotFoundException',
      'there is nothing here but POST /2015-03-31/functions/NAME/invocations: this endpoint is for Invoke only');
  }
  const named = NAME.exec(unescape(match[1]));
  if (!named) {
    throw wrong('a function is NAME, NAME:QUALIFIER, ACCOUNT:function:NAME or an ARN, and NAME is 1 to 63 letters, digits, - and _');
  }
  const qualifiers = new Set(named[2] ? [named[2]] : []);
  for (const part of query.split('&')) {
    const at = part.indexOf('=');
    if (at < 0 || part.slice(0, at) !== 'Qualifier' || at === part.length - 1) continue;
    const value = unescape(part.slice(at + 1));
    if (!QUALIFIER.test(value)) throw wrong('the Qualifier is no version, alias or $LATEST');
    qualifiers.add(value);
  }
  if (qualifiers.size > 1) throw wrong('the Qualifier is given twice, and differs');
  const [qualifier] = qualifiers;
  return qualifier === undefined ? named[1] : `${named[1]}:${qualifier}`;
}

/* The JSON of X-Amz-Client-Context, which is base64 of an object; empty without one. */
function contextOf(text = '') {
  if (text.length > CONTEXT_MAX) throw wrong(`X-Amz-Client-Context is longer than ${CONTEXT_MAX} bytes`);
  if (!text) return Buffer.alloc(0);
  let value = null;
  const plain = Buffer.from(text, 'base64');
  try {
    if (plain.toString('base64') === text) value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plain));
  } catch {
    // below
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong('X-Amz-Client-Context is not a JSON object in base64');
  return plain;
}

/* The path behind the token, and the query. */
function targetOf(url, token) {
  const target = url.startsWith('/') ? url : url.replace(/^[a-z]+:\/\/[^/]*/i, ''); // the absolute form
  const mark = target.indexOf('?'), path = mark < 0 ? target : target.slice(0, mark);
  const given = Buffer.from(path.slice(1, token.length + 1));
  if (given.length !== token.length || !crypto.timingSafeEqual(given, token) || path[token.length + 1] !== '/') {
    throw new Refusal(403, 'AccessDeniedException',
      'the path has to begin as AWS_ENDPOINT_URL_LAMBDA does, whose last part is the function\'s own');
  }
  return [path.slice(token.length + 1), mark < 0 ? '' : target.slice(mark + 1)];
}

function answer(response, status, headers = {}, body = '') {
  if (response.destroyed) return;
  const length = status === 204 ? {} : { 'Content-Length': Buffer.byteLength(body) };
  response.writeHead(status, { ...(body.length ? { 'Content-Type': 'application/json' } : {}), ...length, ...headers });
  response.end(body);
}

function refuse(response, error) {
  const refusal = error instanceof Refusal ? error : new Refusal(500, 'ServiceException', String(error && error.message));
  response.req.resume(); // what is left of the body: who is still sending would not see the answer
  answer(response, refusal.status, { 'X-Amzn-Errortype': refusal.errorName }, refusal.body());
}

function invoke(calls, request, response, target, body) {
  const name = calleeOf(...target);
  if (request.method !== 'POST') throw new Refusal(405, 'InvalidRequestContentException', 'the method of Invoke is POST');
  const kind = request.headers['x-amz-invocation-type'] || 'RequestResponse', log = request.headers['x-amz-log-type'] || 'None';
  if (!['RequestResponse', 'Event', 'DryRun'].includes(kind)) throw wrong('X-Amz-Invocation-Type is none of RequestResponse, Event and DryRun');
  if (log !== 'None' && log !== 'Tail') throw wrong('X-Amz-Log-Type is neither None nor Tail');
  const client = contextOf(request.headers['x-amz-client-context']);
  if (!calls.isServing()) throw notServing();
  const headers = {};
  let refused;
  try {
    if (kind === 'DryRun') {
      refused = calls.find(name);
    } else if (kind === 'Event') {
      refused = calls.beginEvent(name, body, client);
    } else {
      refused = calls.begin(name, body, (flags, payload, lost) => {
        if (payload === undefined) {
          refuse(response, notServing('the invocation was over before the call was'));
          return;
        }
        if (lost) {
          refuse(response, refusalOf(payload));
          return;
        }
        if (flags & FLAG_FAILED) headers['X-Amz-Function-Error'] = 'Unhandled';
        headers['Content-Type'] = flags & FLAG_BINARY ? 'application/octet-stream' : 'application/json';
        answer(response, 200, headers, payload);
      }, TURNS, client);
    }
  } catch (error) {
    if (error instanceof RangeError) throw new Refusal(413, 'RequestTooLargeException', error.message); // over a socket it takes less
    throw error;
  }
  if (refused) throw refusalOf(refused);
  headers['X-Amz-Executed-Version'] = calls.versionOf();
  if (kind !== 'RequestResponse') answer(response, kind === 'Event' ? 202 : 204, headers);
}

function handle(calls, token, request, response) {
  const chunks = [];
  let size = 0, refused = false;
  function fail(error) {
    refused = true;
    refuse(response, error);
  }
  let target;
  try {
    target = targetOf(request.url, token);
    if (Number(request.headers['content-length']) > PAYLOAD_MAX) size = PAYLOAD_MAX + 1;
  } catch (error) {
    fail(error);
    return;
  }
  function check() {
    if (size > PAYLOAD_MAX) fail(new Refusal(413, 'RequestTooLargeException', `the payload is larger than ${PAYLOAD_MAX} bytes`));
    return !refused;
  }
  if (!check()) return;
  request.on('data', (chunk) => {
    if (refused) return;
    size += chunk.length;
    if (check()) chunks.push(chunk);
  });
  request.on('error', () => { refused = true; });
  request.on('end', () => {
    if (refused) return;
    try {
      invoke(calls, request, response, target, Buffer.concat(chunks, size));
    } catch (error) {
      fail(error);
    }
  });
}

/* What is no HTTP. */
function refuseClient(error, socket) {
  if (!socket.writable) return;
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const body = new Refusal(400, 'InvalidRequestContentException', `the request is no HTTP: ${error.message}`).body();
  socket.end(`HTTP/1.1 ${status}\r\nX-Amzn-Errortype: InvalidRequestContentException\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

/*
 * Listen, and say where in `environment`. `calls` are the runtime's begin(), beginEvent(), find() ... Neither the server nor its end of connections
 * keeps the event loop alive. No time limits: they would pass while the process blocks between invocations.
 */
exports.serve = (calls, environment) => new Promise((resolve, reject) => {
  const token = Buffer.from(crypto.randomBytes(16).toString('hex'));
  const server = http.createServer({ requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0, noDelay: true, maxHeaderSize: 65536 },
    (request, response) => handle(calls, token, request, response));
  server.maxConnections = CONNECTIONS_MAX;
  server.on('connection', (socket) => socket.unref());
  server.on('clientError', refuseClient);
  server.on('error', reject);
  server.listen(0, '127.0.0.1', 64, () => {
    environment.AWS_ENDPOINT_URL_LAMBDA = `http://127.0.0.1:${server.address().port}/${token}`;
    environment.AWS_REGION ??= 'local';
    environment.AWS_DEFAULT_REGION ??= environment.AWS_REGION;
    if (![...Object.keys(CREDENTIALS), ...OTHER_CREDENTIALS].some((name) => name in environment)) Object.assign(environment, CREDENTIALS);
    server.unref();
    resolve();
  });
});
