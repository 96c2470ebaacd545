// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * page.c - /ui/: the files of web/, which the assembler puts into the program as they are (the Makefile knows that this file depends on
 * them). They are the same everywhere and say nothing of a node, so they need no key: what they show, they ask for with one.
 *
 * The policy lets the page run its own script and nothing else, from nowhere else, and no text can become markup (trusted types). It cannot
 * be put into a frame, and sends nobody where it was.
 */
#include <string.h>

#include "user/gateway/gateway.h"
#include "user/gateway/reply.h"

#define EMBED(name, file)                                                                                              \
	__asm__(".section .rodata\n"                                                                                   \
		".type " #name "_text, @object\n" #name "_text: .incbin \"" file "\"\n" #name "_end: .byte 0\n"        \
		".size " #name "_text, . - " #name "_text\n"                                                           \
		".previous\n");                                                                                        \
	extern const char name##_text[] __attribute__((visibility("hidden")));                                         \
	extern const char name##_end[] __attribute__((visibility("hidden")))

EMBED(wc_page_html, "web/index.html");
EMBED(wc_page_css, "web/ui.css");
EMBED(wc_page_js, "web/ui.js");
EMBED(wc_page_model, "web/model.js");
EMBED(wc_page_plot, "web/plot.js");
EMBED(wc_page_icon, "web/icon.svg");

static const char policy[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

static const struct {
	const char *path, *type, *text, *end;
} files[] = {
	{ "/", "text/html; charset=utf-8", wc_page_html_text, wc_page_html_end },
	{ "/ui.css", "text/css; charset=utf-8", wc_page_css_text, wc_page_css_end },
	{ "/ui.js", "text/javascript; charset=utf-8", wc_page_js_text, wc_page_js_end },
	{ "/model.js", "text/javascript; charset=utf-8", wc_page_model_text, wc_page_model_end },
	{ "/plot.js", "text/javascript; charset=utf-8", wc_page_plot_text, wc_page_plot_end },
	{ "/icon.svg", "image/svg+xml", wc_page_icon_text, wc_page_icon_end },
};

void wc_page(struct wc_exchange *exchange, const struct wc_route *route)
{
	struct wc_response response = { .status = 200 };

	if (!route->path_len) { /* its files are found below it, so it has to end with a slash; relative, for who is behind a proxy */
		response.status = 308;
		wc_response_add(&response, "location", wc_text("ui/"));
		wc_exchange_respond(exchange, &response);
		return;
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (strlen(files[i].path) != route->path_len ||
		    memcmp(files[i].path, route->path, route->path_len) != 0)
			continue;
		response.body = (struct wc_text){ files[i].text, (size_t)(files[i].end - files[i].text) };
		wc_response_add(&response, "content-type", wc_text(files[i].type));
		wc_response_add(&response, "content-security-policy", wc_text(policy));
		wc_response_add(&response, "x-content-type-options", wc_text("nosniff"));
		wc_response_add(&response, "x-frame-options", wc_text("DENY"));
		wc_response_add(&response, "referrer-policy", wc_text("no-referrer"));
		wc_response_add(&response, "cross-origin-resource-policy", wc_text("same-origin"));
		wc_response_add(&response, "cross-origin-opener-policy", wc_text("same-origin"));
		wc_response_add(&response, "cache-control",
				wc_text("no-cache")); /* another gateway may be another version */
		wc_exchange_respond(exchange, &response);
		return;
	}
	wc_reply_status(exchange, 404, "the page has no such file");
}
