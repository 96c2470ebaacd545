// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// probe.js - a Node.js function that does what the event says: every way to succeed and to fail.
'use strict';

const fs = require('fs');
const path = require('path');

function inner() {
  throw new RangeError('no good: \u00e9\u4e16');
}

exports.handler = async (event) => {
  switch (event && event.do) {
    case 'count':
      fs.appendFileSync(path.join(process.env.SHARED, 'runs'), event.tag + '\n');
      return event.tag;
    case 'pid':
      return process.pid;
    case 'raise':
      return inner();
    case 'unserializable': {
      const loop = {};
      loop.self = loop;
      return loop;
    }
    case 'exit':
      process.exit(event.status);
      break;
    case 'abort':
      process.abort();
      break;
    case 'signal':
      process.kill(process.pid, event.number);
      return new Promise((resolve) => setTimeout(resolve, 60000));
    case 'loop':
      for (;;);
    case 'never':
      return new Promise((resolve) => setTimeout(resolve, 600000));
    case 'huge':
      return 'x'.repeat(event.bytes);
    case 'print':
      console.log(event.out);
      console.error(event.err);
      return 'printed';
    default:
      return event;
  }
};

exports.binary = async (event) => Buffer.from(event);
