// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * reread.h - the gateway reads its configuration file and its certificate again (SIGHUP) while connections go on: what is new is made and
 * checked first, as a whole, and then each loop takes it over in its own thread.
 */
#ifndef WC_GATEWAY_REREAD_H
#define WC_GATEWAY_REREAD_H

#include "user/gateway/settings.h"

/* What a reload changes. */
struct wc_gateway_live {
	void *tls; /* SSL_CTX *; NULL: there is none */
	unsigned connections, max_wait_ms, presign_max_s;
};

struct wc_gateway_reload {
	int argc;
	char **argv;
	const struct wc_gateway_options *options, *asked; /* of the start */
	const struct wc_knobs_given *given;
	char path[256]; /* of the file; empty: none */
	int files;	/* the broker's channel; wc_broker_files_open() */
	unsigned connections_now, max_wait_now, presign_now;
};

/*
 * Reads all again. 0: *ret_live is what shall be in force, its tls a new reference, and ret_text a line about it; a negative errno and a
 * sentence: nothing has changed.
 */
int wc_gateway_reload(struct wc_gateway_reload *reload, struct wc_gateway_live *ret_live, char *ret_text, size_t size,
		      struct wc_fault *fault);

#endif
