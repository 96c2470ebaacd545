// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls another function as often as it is told, one call after the other, and says how long each took: "noop 1000" -> {"ns": [...]}. */
'use strict';

exports.handler = async (event) => {
  const [name, count] = event.split(' ');
  const ns = [];
  for (let i = 0; i < Number(count); i++) {
    const start = process.hrtime.bigint();
    await warmcore.invoke(name, {});
    ns.push(Number(process.hrtime.bigint() - start));
  }
  return { ns };
};
