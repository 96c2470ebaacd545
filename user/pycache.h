/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pycache.h - compiled Python modules of a function: what its compiler sends becomes __pycache__/NAME.TAG.pyc beside NAME.py.
 *
 * The compiler (runtimes/python/warmcore_compile.py) has read code that nobody trusts, so nobody trusts what it says. It sends records,
 * struct wc_compiled and then name and data, over a stream: one TAG (its name is that of the Python, "cpython-311"), one CODE for each
 * module (name: path of the source below the function's folder), one END (its data are three uint32_t: sources, not compiled, not needed).
 * First all of them are written to a folder that only the daemon can enter, and synced: Python fails to import a module
 * whose .pyc is cut off. Then each is renamed into place, if its source is there, and no link on the way. Nothing else is ever
 * changed: what is not compiled is compiled by each instance, as before.
 */
#ifndef WC_PYCACHE_H
#define WC_PYCACHE_H

#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_COMPILED_MAGIC 0x43594357u	/* "WCYC" */
#define WC_COMPILED_NAME_MAX 1024	/* bytes */
#define WC_COMPILED_DATA_MAX (8u << 20) /* bytes */

enum wc_compiled_kind {
	WC_COMPILED_TAG = 1,
	WC_COMPILED_CODE,
	WC_COMPILED_END,
};

/* The compiler writes it, in the machine's byte order; the daemon reads it. */
struct wc_compiled {
	uint32_t magic;
	uint32_t kind;
	uint32_t name_length;
	uint32_t data_length;
};
_Static_assert(sizeof(struct wc_compiled) == 16, "warmcore_compile.py packs it");

struct wc_pycache;

/*
 * For a function's folder `code`, which may then have `bytes` and `files` (and folders) in all; `scratch` is a folder that
 * is made, and removed with all in it by wc_pycache_free(); a path beside `code`, so that files can be renamed.
 */
int wc_pycache_open(struct wc_pycache **ret_cache, const char *code, const char *scratch, uint64_t bytes,
		    uint32_t files, struct wc_fault *fault);
void wc_pycache_free(struct wc_pycache *cache);

struct wc_pycache_told {
	uint32_t sources, failed, kept; /* of END: what the compiler says */
	bool ended;			/* there was one */
};

/*
 * Take records from `fd` until END, or until `until` (CLOCK_MONOTONIC, ns), or until `stop` (-1: none) can be read. What came whole by
 * then is kept whatever is returned: 0 with END; -ETIMEDOUT; -ECANCELED; -EPIPE: it ended without; -EPROTO: that is no record;
 * another errno: it cannot be written. It may be called once.
 */
int wc_pycache_receive(struct wc_pycache *cache, int fd, uint64_t until, int stop, struct wc_pycache_told *ret_told);

/*
 * Sync what was taken to the disk, and put it in place. A file that has no source there, or a link or another mount on its way, or for
 * which there is no room is left out. Returns how many were put, or a negative errno: then there are none.
 */
int wc_pycache_place(struct wc_pycache *cache, struct wc_fault *fault);

#endif
