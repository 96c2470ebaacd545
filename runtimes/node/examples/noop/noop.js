// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// noop.js - the smallest function. Benchmarks measure everything around it.
'use strict';

exports.handler = async (event) => event.length;
