// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sigv4_sign.js KIT SEED COUNT - requests as AWS's own signer and SDK send them, for test_sigv4.py.
 *
 * The key is in WARMCORE_TEST_ID and WARMCORE_TEST_SECRET. Each request goes over a socket to a server in this program, which writes down what
 * came: so it is the bytes on the wire that are verified, not what somebody believes that they are. One JSON object a line.
 */
'use strict';
const http = require('http');
const { createRequire } = require('module');

const [, , kit, seed, count] = process.argv;
const load = createRequire(kit + '/kit.js');
const { SignatureV4 } = load('@smithy/signature-v4');
const { Sha256 } = load('@aws-crypto/sha256-js');
const lambda = load('@aws-sdk/client-lambda');

const credentials = { accessKeyId: process.env.WARMCORE_TEST_ID, secretAccessKey: process.env.WARMCORE_TEST_SECRET };

// xorshift: the same requests for the same seed.
let state = Number(seed) || 1;
function random(below) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}
const pick = (list) => list[random(list.length)];

const NAMES = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~';
const WILD = NAMES + ' !"#$%&\'()*+,/:;<=>?@[\\]^`{|}\täß€語😀';
function text(alphabet, longest) {
  const characters = [...alphabet];
  return Array.from({ length: random(longest + 1) }, () => pick(characters)).join('');
}
const escape = (value) => encodeURIComponent(value).replace(/[!'()*]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());

function queryText(query) {
  const parts = [];
  for (const [name, value] of Object.entries(query))
    for (const one of [].concat(value)) parts.push(`${escape(name)}=${escape(one)}`);
  // The signature does not depend on their order.
  for (let i = parts.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [parts[i], parts[j]] = [parts[j], parts[i]];
  }
  return parts.join('&');
}

let now = 0;
let kind = '';
const server = http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const headers = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) headers.push([request.rawHeaders[i], request.rawHeaders[i + 1]]);
    const at = request.url.indexOf('?');
    console.log(JSON.stringify({
      kind, now: now || Math.floor(Date.now() / 1000), method: request.method, headers,
      path: at < 0 ? request.url : request.url.slice(0, at), query: at < 0 ? '' : request.url.slice(at + 1),
      body: Buffer.concat(chunks).toString('base64') }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end('{}');
  });
});

function send(port, request) {
  const query = queryText(request.query);
  return new Promise((resolve, reject) => {
    // Without a length Node.js drops the body of a DELETE.
    const length = request.body ? { 'content-length': request.body.length } : {};
    const out = http.request({ host: '127.0.0.1', port, method: request.method, headers: { ...request.headers, ...length },
      path: request.path + (query ? '?' + query : '') }, (answer) => answer.resume().on('end', resolve));
    out.on('error', reject);
    out.end(request.body);
  });
}

async function signOne(port, i) {
  const presigned = i % 4 === 0;
  const signer = new SignatureV4({ credentials, region: pick(['us-east-1', 'eu-central-1', 'local']), service: 'lambda',
    sha256: Sha256, applyChecksum: random(2) === 1 });
  const query = {};
  for (let n = random(4); n > 0; n--) query[text(WILD, 12) || 'q'] = random(3) ? text(WILD, 20) : [text(WILD, 5), text(WILD, 5)];
  const headers = { host: `127.0.0.1:${port}` };
  if (random(2)) headers['content-type'] = pick(['application/json', 'application/octet-stream', 'text/plain;  charset=utf-8']);
  if (random(3) === 0) headers['X-Amz-Invocation-Type'] = pick(['Event', 'RequestResponse', 'DryRun']);
  if (random(3) === 0) headers['x-custom'] = ('v' + text(NAMES + '   ', 20)).trim();
  const segments = Array.from({ length: 1 + random(4) }, () => escape(text(WILD, 12).replace(/^\.+$/, '') || 's'));
  const method = pick(['GET', 'POST', 'PUT', 'DELETE']);
  const body = method === 'GET' ? undefined : Buffer.from(text(WILD, 200));
  now = 1700000000 + random(100000000);
  const signingDate = new Date((now + random(599) - 299) * 1000);
  const request = { protocol: 'http:', method, hostname: '127.0.0.1', port, headers, query, body,
    path: '/' + segments.join('/') + (random(4) ? '' : '/') };
  if (presigned) {
    const signed = await signer.presign(request, { signingDate, expiresIn: 300 + random(3000) });
    kind = 'presigned';
    await send(port, { ...signed, body });
  } else {
    const signed = await signer.sign(request, { signingDate });
    kind = 'signed';
    await send(port, { ...signed, body });
  }
}

async function useSdk(port) {
  const client = new lambda.LambdaClient({ endpoint: `http://127.0.0.1:${port}`, region: 'us-east-1', credentials, maxAttempts: 1 });
  const FunctionName = 'hello';
  now = 0;
  const commands = [
    new lambda.InvokeCommand({ FunctionName, Payload: Buffer.from('{"a":1}') }),
    new lambda.InvokeCommand({ FunctionName }),
    new lambda.InvokeCommand({ FunctionName, InvocationType: 'Event', Qualifier: '$LATEST', Payload: Buffer.alloc(100000, 7) }),
    new lambda.InvokeCommand({ FunctionName, InvocationType: 'DryRun', LogType: 'Tail', ClientContext: 'e30=' }),
    new lambda.InvokeCommand({ FunctionName: 'arn:aws:lambda:us-east-1:123456789012:function:hello:alias', Payload: Buffer.from('1') }),
    new lambda.ListFunctionsCommand({}),
    new lambda.ListFunctionsCommand({ MaxItems: 5, Marker: 'a b/c+d=e' }),
    new lambda.GetFunctionCommand({ FunctionName }),
    new lambda.CreateFunctionCommand({ FunctionName, Runtime: 'nodejs20.x', Handler: 'a.b', Role: 'arn:aws:iam::0:role/x',
      Code: { ZipFile: Buffer.alloc(5000, 1) } }),
    new lambda.UpdateFunctionCodeCommand({ FunctionName, ZipFile: Buffer.alloc(500, 2) }),
    new lambda.UpdateFunctionConfigurationCommand({ FunctionName, Timeout: 3 }),
    new lambda.PublishVersionCommand({ FunctionName }),
    new lambda.CreateAliasCommand({ FunctionName, Name: 'live', FunctionVersion: '1' }),
    new lambda.PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 3 }),
    new lambda.DeleteFunctionConcurrencyCommand({ FunctionName }),
    new lambda.PutProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier: 'live', ProvisionedConcurrentExecutions: 2 }),
    new lambda.PutFunctionEventInvokeConfigCommand({ FunctionName, MaximumRetryAttempts: 1 }),
    new lambda.DeleteFunctionCommand({ FunctionName, Qualifier: '3' }),
  ];
  for (const command of commands) {
    kind = command.constructor.name;
    await client.send(command);
  }
  client.destroy();
}

server.listen(0, '127.0.0.1', async () => {
  const { port } = server.address();
  for (let i = 0; i < Number(count); i++) await signOne(port, i);
  await useSdk(port);
  server.close();
  server.closeAllConnections();
});
