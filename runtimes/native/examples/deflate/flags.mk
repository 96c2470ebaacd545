# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What this example links with; read by the Makefile.
LDLIBS_deflate := -lz
