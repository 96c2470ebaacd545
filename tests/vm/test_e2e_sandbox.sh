#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_e2e_sandbox.sh KERNEL - a part of the end-to-end tests, in a VM: e2e.sh says which.
# only-when-asked
exec bash "${0%/*}/e2e.sh" "${1:?which kernel: 6.18, for example}" sandbox
