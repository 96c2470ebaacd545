// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * gateway_control.js KIT URL - runs commands of AWS's own SDK for Lambda, which come as JSON on standard input: [[NAME, INPUT], ...], NAME that of a
 * command without "Command", of a waiter ("waitUntil..."), or of a paginator ("paginate..."). A ZipFile is base64 in the input. One JSON array on
 * standard output, an element for each: the output with its status, or the error.
 */
'use strict';
const { createRequire } = require('module');

const [, , kit, url] = process.argv;
const lambda = createRequire(kit + '/kit.js')('@aws-sdk/client-lambda');
const credentials = { accessKeyId: process.env.WARMCORE_TEST_ID || 'a', secretAccessKey: process.env.WARMCORE_TEST_SECRET || 'b' };
const client = new lambda.LambdaClient({ endpoint: url, region: 'local', maxAttempts: 1, credentials });

function bytes(input) {
  if (input.ZipFile !== undefined) input.ZipFile = Buffer.from(input.ZipFile, 'base64');
  if (input.Code && input.Code.ZipFile !== undefined) input.Code.ZipFile = Buffer.from(input.Code.ZipFile, 'base64');
  return input;
}

async function run(name, input) {
  if (name === 'fetch') {
    const response = await fetch(input.url, input.options);
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()).toString('base64'), type: response.headers.get('content-type') };
  }
  if (name.startsWith('waitUntil')) return { state: (await lambda[name]({ client, maxWaitTime: 60, minDelay: 1, maxDelay: 1 }, input)).state };
  if (name.startsWith('paginate')) {
    const pages = [];
    for await (const page of lambda[name]({ client, pageSize: input.pageSize }, input.input || {})) pages.push(page);
    return { pages };
  }
  const output = await client.send(new lambda[name + 'Command'](bytes(input)));
  if (output.Payload) output.Payload = Buffer.from(output.Payload).toString();
  return { ...output, status: output.$metadata.httpStatusCode };
}

(async () => {
  const out = [];
  for (const [name, input] of JSON.parse(require('fs').readFileSync(0))) {
    try {
      out.push(await run(name, input));
    } catch (e) {
      out.push({ error: e.name, status: (e.$metadata || {}).httpStatusCode, message: e.message || e.Message, type: e.Type });
    }
  }
  console.log(JSON.stringify(out));
})();
