/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * manage.h - Lambda's control API: functions are created, changed, listed and removed. A few threads do it, each with a channel to the broker, one
 * request after the other and waiting where there is to be waited; event loops hand requests over and get answers back in a mailbox. So a
 * deployment holds up no invocation.
 */
#ifndef WC_GATEWAY_MANAGE_H
#define WC_GATEWAY_MANAGE_H

#include <jansson.h>

#include "user/gateway/auth_check.h"
#include "user/gateway/gateway.h"

#define WC_MANAGE_WORKERS 2u	       /* requests at a time */
#define WC_MANAGE_WAITING_MAX 64u      /* that wait for one of them */
#define WC_MANAGE_SMALL_MAX (1u << 20) /* bytes of a request without an archive */
#define WC_MANAGE_BODY_MAX (70u << 20) /* of one with an archive: 50 MiB are 66.7 MiB of base64 */
#define WC_MANAGE_LARGE_MAX 2u /* bodies over 6 MiB on their way; and bodies over WC_PAYLOAD_MAX that are read */
#define WC_MANAGE_NOT_OFFERED                                                                                          \
	"functions are not managed over HTTP here: the gateway was started with --no-manage, not as root, or for a node on another host"

struct wc_manage;

/* Starts the threads. `channels` are the broker's, WC_MANAGE_WORKERS of them, taken over. -ENOMEM, of pthread_create(3), getrandom(2). */
int wc_manage_open(const int *channels, struct wc_manage **ret_manage);

/* The mailbox of one loop, which watches its descriptor for reading. -ENOMEM, of eventfd(2). */
struct wc_manage_door;
int wc_manage_door_new(struct wc_manage *manage, struct wc_manage_door **ret_door);
int wc_manage_door_fd(const struct wc_manage_door *door);
void wc_manage_door_readable(struct wc_manage_door *door);

/* Serves a request of WC_ROUTE_MANAGE, whose method is one of the resource. `who` has an empty id when nobody was asked. */
void wc_manage_request(struct wc_gateway *gateway, struct wc_exchange *exchange, const struct wc_route *route,
		       const struct wc_auth_identity *who);

/*
 * May the body of this request be as large as WC_MANAGE_BODY_MAX? Asked when its head is here. False, and *ret_failure says why. Each true holds one
 * of WC_MANAGE_LARGE_MAX until wc_manage_release().
 */
struct wc_failure;
bool wc_manage_admit(struct wc_gateway *gateway, const struct wc_request *request, struct wc_failure *ret_failure);
void wc_manage_release(struct wc_gateway *gateway);

/* --- for those who do it: manage_*.c --- */

/* One request, in the hands of a worker. */
struct wc_manage_task {
	struct wc_http_job job; /* first: http_job of gateway.h. Its route's pointers are not to be used */
	struct wc_manage_task *next;
	struct wc_manage *manage;
	struct wc_manage_door *door;
	int channel;
	char method[8];
	char *body; /* a copy; the archive is cut out of it by whoever wants it */
	size_t length;
	bool large;	/* the body is one of those that are counted */
	char base[300]; /* "http://HOST", as the client calls the gateway */
	char marker[256], expires[24], signature[72];
	unsigned max_items; /* 0: not said */
	bool all;	    /* FunctionVersion=ALL, or List=ALL */
	json_t *tag_keys;   /* tagKeys, each once or more, or NULL */
	struct wc_auth_identity who;
	/* The answer. */
	unsigned status;
	json_t *json;	  /* or NULL: no body */
	const char *type; /* of an error; NULL: it is none */
	char message[600];
	int file; /* -1, or what is sent */
};

/* What each answer ends with. `json` is taken over. */
void wc_manage_answer(struct wc_manage_task *task, unsigned status, json_t *json);
__attribute__((format(printf, 4, 5))) void wc_manage_fail(struct wc_manage_task *task, unsigned status,
							  const char *type, const char *format, ...);
/* -EINVAL, -ENOSYS, -EFBIG of the readers. */
void wc_manage_fail_fault(struct wc_manage_task *task, int error, const struct wc_fault *fault);

/*
 * Asks the broker; takes `question` over. A new object whose "ok" is true; or NULL, and the task has its error.
 */
json_t *wc_manage_question(struct wc_manage_task *task, json_t *question, int fd);
/* `describe` of the function of the task's route. */
json_t *wc_manage_describe(struct wc_manage_task *task);
/*
 * The object of a published version, by its number or an alias, out of what `published` answers; NULL, and the task has its error. An alias of
 * $LATEST is an empty object.
 */
json_t *wc_manage_version(struct wc_manage_task *task, const char *qualifier);
/* Of an entry of the node's `published`; 0: $LATEST, which is among them. */
json_int_t wc_manage_version_number(const json_t *version);

/* The body as an object; without a body an empty one. NULL, and the task has its error. */
json_t *wc_manage_body(struct wc_manage_task *task);

/* May whoever asks do this with a function that the path did not name? False, and the task has its error. */
bool wc_manage_may(struct wc_manage_task *task, const char *operation, const char *function);

/* A page: the objects of `list`, by this member of theirs, behind the marker; *ret_next is the next marker or NULL. A new array. */
json_t *wc_manage_page(const struct wc_manage_task *task, json_t *list, const char *member, unsigned usual,
		       const char **ret_next);

/* The signature of a link to an archive, good until then. */
void wc_manage_sign(const struct wc_manage *manage, const char *function, const char *code, const char *expires,
		    char out[65]);

/* The resources: manage_functions.c, manage_change.c, manage_versions.c, manage_limits.c. */
void wc_manage_functions(struct wc_manage_task *task);
void wc_manage_function(struct wc_manage_task *task);
void wc_manage_configure(struct wc_manage_task *task);
void wc_manage_create(struct wc_manage_task *task);
void wc_manage_update_code(struct wc_manage_task *task);
void wc_manage_update_settings(struct wc_manage_task *task);
void wc_manage_versions(struct wc_manage_task *task);
void wc_manage_aliases(struct wc_manage_task *task);
void wc_manage_one_alias(struct wc_manage_task *task);
void wc_manage_reserve(struct wc_manage_task *task);
void wc_manage_provision(struct wc_manage_task *task);
void wc_manage_account(struct wc_manage_task *task);
void wc_manage_one(struct wc_manage_task *task);
void wc_manage_tags(struct wc_manage_task *task);
void wc_manage_remove_named(struct wc_manage_task *task);
void wc_manage_archive(struct wc_manage_task *task);

/* Publishes what is current: a new version object, or NULL and the task has its error. */
json_t *wc_manage_publish(struct wc_manage_task *task, json_t *question);

#endif
