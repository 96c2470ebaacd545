/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * instance.h - an instance: a child process with one function loaded, that runs one invocation at a time.
 *
 * An instance belongs to one core agent; only that thread starts, invokes and stops it. The main loop holds a second
 * reference: it reads the instance's output and learns of its death, and then wakes the agent that may be waiting.
 */
#ifndef WC_INSTANCE_H
#define WC_INSTANCE_H

#include "runtimes/abi/channel.h"
#include "bpf/shim.h"
#include "user/functions.h"
#include "user/sched.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A message from an instance on a socket. */
#define WC_INSTANCE_BUFFER (sizeof(struct wc_message) + sizeof(struct wc_channel_call) + WC_CHANNEL_CAPACITY)

struct wc_sandbox;
struct wc_sandboxes;
struct wc_zygotes;

/* What all instances of a node share. */
struct wc_launcher {
	char runtimes[256];    /* folder with native/, python/ and node/ */
	char name[32];	       /* of the node; marks its processes (WARMCORE_NODE) */
	const char *state_dir; /* functions' secrets are in there */
	int host_net;	       /* the network namespace that the node was started in, or -1 */
	char node[256];	       /* path of Node.js, empty if there is none */
	char python[64];
	struct wc_sched *sched; /* NULL: none */
	struct wc_zygotes *zygotes;
	struct wc_sandboxes *sandboxes; /* NULL: none, */
	char sandbox_why[300];		/* because of this */
	int netns;    /* of zygotes, and of instances without a sandbox: nothing in it; -1 if it could not be made */
	int filter;   /* of system calls, filter.h */
	int landlock; /* the kernel's version of it, 0: none (runtimes/abi/landlock.h) */
	const char *landlock_why; /* because of this */
	int rules;		  /* a ruleset for instances without a sandbox (rules.h), or -1 */
};

/* For what an instance was started. */
enum wc_origin {
	WC_ORIGIN_INVOCATION, /* it has run one, or is about to */
	WC_ORIGIN_PREDICTED,
	WC_ORIGIN_PROVISIONED,
};

struct wc_watch; /* the main loop's side of an instance, see watch.h */

/* A function that an instance has called by name alone. */
struct wc_callee {
	uint32_t id;	  /* 0: none yet */
	uint32_t version; /* its deployment, which this instance may call */
	char name[WC_NAME_MAX];
};

struct wc_instance {
	struct wc_fn *fn;
	pid_t pid;
	int pidfd;
	uint32_t core;
	struct wc_sched *sched;
	uint32_t slot;		    /* with the thread scheduler, or WC_NONE */
	struct wc_channel *channel; /* futex transport */
	int socket;		    /* socket transport, or -1 */
	uint32_t sequence;	    /* of the last request */
	struct wc_watch *watch;
	struct wc_sandbox *sandbox; /* NULL: none */
	bool farewell;		    /* it cleans up before it ends */
	bool takes_context;	    /* on its socket */
	bool lines;		    /* it knows lines (line.h), and has its mail */
	bool calls;		    /* its function calls others, or uses its workflow */
	uint32_t line_out, line_in; /* numbers of the last line as a caller, and as one that is called; 0: none */
	uint32_t line_to;	    /* function at the other end of line_out */
	uint64_t killed_at;	    /* while it does: until when */
	struct wc_instance *next;   /* of the same agent, most recently used first */
	enum wc_origin origin;	    /* until its first invocation: why it was started */
	uint64_t idle_since;	    /* in a pool: since when */
	uint64_t worth;		    /* in a pool: keepalive.h */
	uint32_t restless;	    /* times in a row that it was seen to run while it should idle */
	struct wc_callee callee;    /* the last one */
	bool swollen;		    /* it has pages of large calls between functions */
	uint64_t cpu_ns, cpu_since; /* CPU time that it had used when it was last seen, and since when it idled then */
};

/* Why no answer came. */
enum wc_failure {
	WC_FAILURE_NONE,
	WC_FAILURE_EXIT,   /* status = exit status */
	WC_FAILURE_CRASH,  /* status = signal */
	WC_FAILURE_MEMORY, /* the kernel killed it: more than its limit */
	WC_FAILURE_TIMEOUT,
	WC_FAILURE_PROTOCOL, /* it wrote nonsense */
	WC_FAILURE_START,    /* it could not be started; text says why */
	WC_FAILURE_PAYLOAD,  /* it could not be given its large payload; text says why. It has not run */
};

struct wc_result {
	enum wc_failure failure;
	int status;
	bool untouched; /* EXIT or CRASH of a process that had not yet looked at the request: another may run it */
	uint32_t kind;	/* enum wc_channel_kind, when failure is NONE */
	uint32_t flags;
	uint32_t length;
	uint64_t began_ns, returned_ns; /* what the instance says of a timed call; 0: nothing. Not to be trusted */
	const uint8_t *
		payload; /* in the channel or the agent's buffer: valid until the next call. Beyond WC_CHANNEL_CAPACITY bytes only
				 * the kernel may read it (write(2)): there may be no memory for a page that the instance has not written */
	char text[512];
	struct wc_channel_call
		call; /* kind CALL: what the function wants to run; its payload is the result's, and as untrusted */
};

struct wc_call {
	const uint8_t *payload;
	uint32_t length;
	uint64_t request_id;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; when the function is stopped */
	uint32_t context_len; /* 0: none */
	const uint8_t *context;
	/* With a reference (payloads.h): */
	bool refers;
	int source;	     /* sealed memfd with the payload; -1: it is at `payload` */
	uint32_t answer_max; /* bytes that the result may have */
	bool foreign;	     /* by a function: the payload is in another instance's memory */
	bool timed;	     /* the instance shall say when it began and when the function was over */
};

/* Where an instance starts, and for whom. */
struct wc_place {
	uint32_t core;
	int cpu;
	uint32_t slot;	     /* of the thread that starts it, with the thread scheduler; WC_NONE: none */
	bool has_request;    /* else it is started ahead */
	uint64_t request_id; /* the one that needs it */
	uint64_t limit_ns;   /* CLOCK_MONOTONIC: by then it must have loaded; 0: as long as functions may load */
};

/*
 * Start an instance on a CPU and wait until it has loaded the function. NULL on failure: then *result says why, either as
 * a failure or as an INIT_ERROR message of the runtime. `buffer` has WC_INSTANCE_BUFFER bytes.
 */
struct wc_instance *wc_instance_start(const struct wc_launcher *launcher, struct wc_fn *fn,
				      const struct wc_place *place, uint8_t *buffer, struct wc_result *result);
/* One invocation. On any failure the instance is of no further use: stop it. */
void wc_instance_invoke(struct wc_instance *instance, const struct wc_call *call, uint8_t *buffer,
			struct wc_result *result);
/*
 * It waits for the result of what it called: `length` bytes, in shared memory already at WC_CHANNEL_RESULT_AT, else at `payload`. Then as after
 * wc_instance_invoke(), in the same call.
 */
void wc_instance_resume(struct wc_instance *instance, const struct wc_call *call, const uint8_t *payload,
			uint32_t length, uint32_t flags, uint32_t number, uint8_t *buffer, struct wc_result *result);
/*
 * It runs a call of a line (line.h) that is to be answered to the agent: from now on it is under a sequence of the agent's. Then as after
 * wc_instance_invoke().
 */
void wc_instance_adopt(struct wc_instance *instance, const struct wc_call *call, uint8_t *buffer,
		       struct wc_result *result);
/* Copy between memory of instances, or from one. Of more than a packet's there may be no memory for a page: -EFAULT (guard.h). */
int wc_instance_copy(uint8_t *to, const uint8_t *from, uint32_t length);
/* After a call with a reference, when its result was used: the memory of a large payload and a large result goes. */
void wc_instance_trim(struct wc_instance *instance, const struct wc_call *call, const struct wc_result *result);
/* The same, of all that large calls between functions have left (`swollen`). Only while it idles. */
void wc_instance_trim_all(struct wc_instance *instance);
/* It idles, and is to run on another core from now on: all of it goes there. Microseconds. */
void wc_instance_move(struct wc_instance *instance, uint32_t core, int cpu);
/* It idles and is not needed any more: let it clean up, if it wants to, while others have the core; else kill it. */
void wc_instance_stop(struct wc_instance *instance);
/* Kill it, wait until the kernel has taken it off its core, and drop the agent's reference. */
void wc_instance_kill(struct wc_instance *instance);
/* Send a message that has no answer: SHUTDOWN; LINE, and its number. */
void wc_instance_tell(struct wc_instance *instance, enum wc_channel_kind kind, uint32_t number);
/* CPU time of all its processes, where its sandbox has a control group, else of its first; ns, 0 when it is gone. */
uint64_t wc_instance_cpu_ns(const struct wc_instance *instance);
/* True when the process is gone although nobody asked it to go. */
bool wc_instance_dead(const struct wc_instance *instance);

#endif
