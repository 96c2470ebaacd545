/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* order.h - what a zygote is asked for: program, arguments, environment and limits of an instance, as runtimes/abi/zygote.h has it. */
#ifndef WC_ORDER_H
#define WC_ORDER_H

#include "runtimes/abi/zygote.h"
#include "user/error.h"
#include "user/instance.h"

struct wc_start_order {
	union {
		struct wc_zygote_request head;
		char bytes[WC_ZYGOTE_MESSAGE_MAX];
	};
	size_t length;
	size_t environment, environment_end; /* where its strings are */
	bool failed;			     /* too long */
};

#define WC_PROCESSES_MAX 256 /* and threads, of an instance */
#define WC_NODE_EXTRA_MB 64  /* what a Node.js process needs beside the heap that memory_mb limits */

/* An instance of instance->fn on instance->core. `socket`: its channel is one. */
int wc_order_instance(struct wc_start_order *order, const struct wc_launcher *launcher,
		      const struct wc_instance *instance, bool socket, struct wc_fault *fault);
/* What compiles the modules of a Python function. `sandbox`: it sees its folder where instances see it. */
int wc_order_compiler(struct wc_start_order *order, const struct wc_launcher *launcher, const struct wc_fn *fn,
		      bool sandbox, struct wc_fault *fault);
/* A Node.js process that waits for a function. */
void wc_order_spare(struct wc_start_order *order, const struct wc_launcher *launcher, uint32_t memory_mb);
/*
 * Fill in the descriptors of what confines it, and say in the order which there are. Channel, output, mounts and network are the caller's, who
 * has filled them in; -1: none. `sandbox`: NULL where there are none.
 */
void wc_order_confine(struct wc_start_order *order, int fds[WC_ZYGOTE_FDS], const struct wc_launcher *launcher,
		      const struct wc_sandbox *sandbox);

/* The path of a runtime's program or script. */
void wc_order_script(const struct wc_launcher *launcher, enum wc_runtime runtime, char *out, size_t size);
/* Without its addon a runtime can only use a socket. */
bool wc_order_needs_socket(const struct wc_launcher *launcher, enum wc_runtime runtime);
/*
 * Does the environment have variables that are looked at when a program starts? A process that runs already would ignore them. (LD_*
 * is refused by the manifest.)
 */
bool wc_order_needs_start(const struct wc_manifest *manifest);
/*
 * The name of a variable in its environment that libraries look at while they are imported, if it declares libraries: the zygote has
 * imported them already, without it. NULL: there is none.
 */
const char *wc_order_import_variable(const struct wc_manifest *manifest);
/* The libraries that its zygote is to have imported; "" when each instance has to import them itself. */
const char *wc_order_libraries(const struct wc_manifest *manifest);
/* Has its program to be executed, because no zygote can have it in memory, or it needs a start of its own? */
bool wc_order_needs_program(const struct wc_manifest *manifest);

#endif
