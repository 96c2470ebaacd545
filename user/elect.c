/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* elect.c - see elect.h. One thread, which alone asks etcd. */
#include "user/elect.h"

#include "user/clock.h"
#include "user/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define TICK_NS (5 * WC_MS)

struct wc_elect {
	struct wc_elect_plan plan;
	char *texts[4]; /* of plan.etcd */
	struct wc_etcd *etcd;
	pthread_t thread;
	bool started;
	int wake; /* eventfd */
	atomic_bool stopping;
	atomic_ullong gone; /* a term */
	/* Of the thread. */
	bool leading;
	int64_t revision; /* of the record: ours, or the last that was seen */
	uint64_t seen_ns; /* when that was first seen */
	uint64_t until;	  /* of the lease */
	uint64_t written; /* numbers the writings */
	uint64_t known;	  /* to who led last, as that record says (plan.knows) */
	uint64_t before;  /* the term of who led last, as the record that was read says; 0: it does not */
	uint64_t next_ns; /* when etcd is asked again */
	/* Under the lock, for others. */
	pthread_mutex_t lock;
	struct wc_leader leader;
	char why[200]; /* etcd cannot be asked; empty: it can */
};

/* --- the record --- */

/* What all records of a term begin with: wc_elect_bounds(). */
static json_t *record_begin(const char *name, const char *door, uint64_t term)
{
	return json_pack("{s:s, s:s, s:I}", "name", name, "door", door, "term", (json_int_t)term);
}

int wc_elect_bounds(const char *name, const char *door, uint64_t term, char ret_above[WC_ELECT_BOUND_MAX],
		    char ret_below[WC_ELECT_BOUND_MAX])
{
	json_t *record = record_begin(name, door, term);
	char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;
	int length = text ? (int)strlen(text) - 1 : -1; /* without its end */

	if (length >= 0 && length < WC_ELECT_BOUND_MAX - 1) {
		snprintf(ret_above, WC_ELECT_BOUND_MAX, "%.*s,", length, text);
		snprintf(ret_below, WC_ELECT_BOUND_MAX, "%.*s%c", length, text, ',' + 1);
	} else {
		length = -1;
	}
	json_decref(record);
	free(text);
	return length < 0 ? -ENOMEM : 0;
}

/* `before`: who led last, when nobody does (term 0). */
static char *record_text(struct wc_elect *elect, uint64_t term, uint64_t before)
{
	json_t *record = record_begin(elect->plan.name, elect->plan.door, term);
	json_t *more = json_pack("{s:I, s:I, s:I}", "before", (json_int_t)before, "knows",
				 (json_int_t)elect->plan.knows(elect->plan.context), "written",
				 (json_int_t)++elect->written);
	char *text = record && more && !json_object_update(record, more) ? json_dumps(record, JSON_COMPACT) : NULL;

	json_decref(more);
	json_decref(record);
	return text;
}

/*
 * Whose it is; nobody's is one without a term. False: it is no record, or there is none, which says nothing about who leads: etcd may have lost its data.
 */
static bool read_record(struct wc_elect *elect, const struct wc_etcd_value *value, struct wc_leader *ret_leader)
{
	json_t *record = value->revision ? json_loadb(value->value, value->length, JSON_REJECT_DUPLICATES, NULL) : NULL;
	const char *name = json_string_value(json_object_get(record, "name"));
	const char *door = json_string_value(json_object_get(record, "door"));
	const json_t *number = json_object_get(record, "term");
	json_int_t term = json_integer_value(number);
	bool sound = name && door && json_is_integer(number) && term >= 0 && strlen(name) < sizeof(ret_leader->name) &&
		     strlen(door) < sizeof(ret_leader->door);

	memset(ret_leader, 0, sizeof(*ret_leader));
	if (sound) /* any number will do, if it is not what somebody has written */
		elect->before = (uint64_t)(term ?: json_integer_value(json_object_get(record, "before")));
	else
		elect->before = 0;
	elect->known = sound ? (uint64_t)json_integer_value(json_object_get(record, "knows")) : 0;
	if (sound && term) {
		snprintf(ret_leader->name, sizeof(ret_leader->name), "%s", name);
		snprintf(ret_leader->door, sizeof(ret_leader->door), "%s", door);
		ret_leader->term = (uint64_t)term;
		/* Both: two hosts that have one name by mistake would push each other out for ever. */
		ret_leader->own = !strcmp(name, elect->plan.name) && !strcmp(door, elect->plan.door);
	}
	json_decref(record);
	return sound;
}

static void set_leader(struct wc_elect *elect, const struct wc_leader *leader)
{
	pthread_mutex_lock(&elect->lock);
	if (leader->term && elect->leader.term != leader->term)
		wc_info("%s leads the cluster", leader->own ? "this host" : leader->name);
	elect->leader = *leader;
	pthread_mutex_unlock(&elect->lock);
}

static void explain(struct wc_elect *elect, const char *why)
{
	pthread_mutex_lock(&elect->lock);
	if (*why && !*elect->why)
		wc_warning("%s", why);
	if (!*why && *elect->why)
		wc_info("etcd answers again");
	snprintf(elect->why, sizeof(elect->why), "%.199s", why);
	pthread_mutex_unlock(&elect->lock);
}

static uint32_t timeout_ms(const struct wc_elect *elect)
{
	return (uint32_t)(elect->plan.lease_ns / 4 / WC_MS);
}

/* --- leading --- */

static void step_down(struct wc_elect *elect, const char *why)
{
	wc_warning("this host leads the cluster no longer: %s", why);
	elect->leading = false;
	elect->seen_ns = wc_now(); /* whoever has it, or will: it has just begun, as far as we know */
	elect->plan.lost(elect->plan.context);
	set_leader(elect, &(struct wc_leader){ 0 });
}

/* Write the record again. */
static void renew(struct wc_elect *elect)
{
	uint64_t begun = wc_now();
	struct wc_etcd_value now = { 0 };
	struct wc_leader leader;
	struct wc_fault fault;
	char *text = record_text(elect, elect->leader.term, 0);
	int error = text ? wc_etcd_replace(elect->etcd, elect->plan.key, text, elect->revision, &now, timeout_ms(elect),
					   &fault) :
			   wc_fail(&fault, ENOMEM, "out of memory");

	free(text);
	elect->next_ns = begun + elect->plan.lease_ns / 5;
	if (!error) {
		elect->revision = now.revision;
		elect->until = begun + elect->plan.lease_ns;
		elect->plan.renewed(elect->plan.context, elect->until);
		explain(elect, "");
		return;
	}
	elect->next_ns = begun + elect->plan.lease_ns / 20;
	if (error < 0) {
		explain(elect, fault.text);
		return;
	}
	/*
	 * Ours, of a writing that was not known to have succeeded: nobody has led since. Or it is gone, or nonsense: whoever sees that waits for longer than
	 * our lease.
	 */
	if (!read_record(elect, &now, &leader) || (leader.term == elect->leader.term && leader.own)) {
		elect->revision = now.revision;
		elect->next_ns = begun;
		return;
	}
	step_down(elect, "another one does");
	elect->revision = now.revision;
	set_leader(elect, &leader);
}

/* --- following --- */

/* Replace the record that was seen. */
static void seize(struct wc_elect *elect)
{
	uint64_t begun = wc_now(), term = 0;
	struct wc_etcd_value now = { 0 };
	struct wc_leader own = { .own = true };
	struct wc_fault fault;
	char *text;
	int error;

	if (getrandom(&term, sizeof(term), 0) != sizeof(term))
		return;
	term = (term >> 1) | 1; /* a number of JSON */
	text = record_text(elect, term, 0);
	error = text ? wc_etcd_replace(elect->etcd, elect->plan.key, text, elect->revision, &now, timeout_ms(elect),
				       &fault) :
		       wc_fail(&fault, ENOMEM, "out of memory");
	free(text);
	if (error < 0)
		explain(elect, fault.text);
	if (error > 0)
		elect->next_ns = begun; /* somebody was faster: the next look shows who */
	if (error || wc_now() >= begun + elect->plan.lease_ns)
		return; /* or the lease is over before it has begun: the next look finds our own record */
	elect->revision = now.revision;
	elect->until = begun + elect->plan.lease_ns;
	elect->next_ns = begun + elect->plan.lease_ns / 5;
	elect->leading = true;
	own.term = term;
	snprintf(own.name, sizeof(own.name), "%s", elect->plan.name);
	snprintf(own.door, sizeof(own.door), "%s", elect->plan.door);
	set_leader(elect, &own);
	elect->plan.won(elect->plan.context, term, elect->before);
	elect->plan.renewed(elect->plan.context, elect->until);
}

static void look(struct wc_elect *elect)
{
	struct wc_etcd_value now;
	struct wc_leader leader;
	struct wc_fault fault;
	int error = wc_etcd_get(elect->etcd, elect->plan.key, &now, timeout_ms(elect), &fault);
	uint64_t seen = wc_now(), patience;
	bool sound;

	elect->next_ns = seen + elect->plan.lease_ns / 10;
	explain(elect, error ? fault.text : "");
	if (error)
		return;
	if (now.revision != elect->revision || !elect->seen_ns) {
		elect->revision = now.revision;
		elect->seen_ns = seen;
	}
	sound = read_record(elect, &now, &leader);
	/* Else a host that was added, or was away for long, could make all others forget what it has never heard of. */
	patience = elect->plan.lease_ns + elect->plan.lease_ns / 4;
	if (elect->plan.knows(elect->plan.context) < elect->known) {
		patience += elect->plan.lease_ns;
		sound = false;
	}
	/* Its own: of its life before this one, which is over, or the daemon could not have started. */
	if ((sound && (!leader.term || leader.own || leader.term == atomic_load(&elect->gone))) ||
	    seen - elect->seen_ns > patience)
		seize(elect);
	else
		set_leader(elect, &leader);
}

/* --- the thread --- */

static void sleep_until(const struct wc_elect *elect, uint64_t end)
{
	struct pollfd wake = { .fd = elect->wake, .events = POLLIN };
	uint64_t now = wc_now(), count;

	if (end > now && poll(&wake, 1, (int)((end - now + WC_MS - 1) / WC_MS)) > 0 &&
	    read(elect->wake, &count, sizeof(count)) < 0)
		return;
}

static void *elect_main(void *argument)
{
	struct wc_elect *elect = argument;

	pthread_setname_np(pthread_self(), "elect");
	while (!atomic_load(&elect->stopping)) {
		uint64_t now = wc_now(), end;
		bool soon;

		if (elect->leading && now >= elect->until)
			step_down(elect, "etcd could not be told in time that it does");
		if (elect->leading && now >= elect->next_ns)
			renew(elect);
		else if (!elect->leading && (now >= elect->next_ns || atomic_load(&elect->gone)))
			look(elect);
		atomic_store(&elect->gone, 0);
		/* It may have taken long: nothing is done as the leader after the lease. */
		if (elect->leading && wc_now() >= elect->until)
			continue;
		soon = elect->plan.tick(elect->plan.context, wc_now());
		end = soon ? wc_now() + TICK_NS : elect->next_ns;
		if (elect->leading && elect->until < end)
			end = elect->until;
		sleep_until(elect, end);
	}
	return NULL;
}

/* --- open and close --- */

int wc_elect_open(struct wc_elect **ret_elect, const struct wc_elect_plan *plan, struct wc_fault *fault)
{
	struct wc_elect *elect = calloc(1, sizeof(*elect));
	const char **const texts[] = { &elect->plan.etcd.endpoints, &elect->plan.etcd.ca, &elect->plan.etcd.cert,
				       &elect->plan.etcd.key };
	int error;

	if (!elect)
		return wc_fail(fault, ENOMEM, "out of memory");
	elect->plan = *plan;
	pthread_mutex_init(&elect->lock, NULL);
	elect->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = elect->wake < 0 ? wc_fail(fault, errno, "cannot make an eventfd: %s", strerror(errno)) : 0;
	for (size_t i = 0; !error && i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!*texts[i])
			continue;
		elect->texts[i] = strdup(*texts[i]);
		*texts[i] = elect->texts[i];
		if (!elect->texts[i])
			error = wc_fail(fault, ENOMEM, "out of memory");
	}
	if (!error)
		error = wc_etcd_open(&elect->etcd, &elect->plan.etcd, fault);
	if (error) {
		wc_elect_close(elect);
		return error;
	}
	*ret_elect = elect;
	return 0;
}

int wc_elect_start(struct wc_elect *elect, struct wc_fault *fault)
{
	int error = pthread_create(&elect->thread, NULL, elect_main, elect);

	elect->started = !error;
	return error ? wc_fail(fault, error, "cannot start the thread of the election: %s", strerror(error)) : 0;
}

static void wake(const struct wc_elect *elect)
{
	uint64_t one = 1;

	if (write(elect->wake, &one, sizeof(one)) != sizeof(one))
		return; /* it is awake */
}

void wc_elect_stop(struct wc_elect *elect)
{
	struct wc_etcd_value now;
	struct wc_fault fault;
	char *text;

	if (!elect || !elect->started)
		return;
	atomic_store(&elect->stopping, true);
	wake(elect);
	pthread_join(elect->thread, NULL);
	elect->started = false;
	if (!elect->leading)
		return;
	elect->leading = false;
	elect->plan.lost(elect->plan.context);
	/* Not removed: a writing of ours that is still on its way could make it again after that (etcd.h). */
	text = record_text(elect, 0, elect->leader.term);
	if (text &&
	    wc_etcd_replace(elect->etcd, elect->plan.key, text, elect->revision, &now, timeout_ms(elect), &fault) < 0)
		wc_warning("the others learn only in a while that this host leads no longer: %s", fault.text);
	free(text);
}

void wc_elect_close(struct wc_elect *elect)
{
	if (!elect)
		return;
	wc_etcd_close(elect->etcd);
	for (size_t i = 0; i < sizeof(elect->texts) / sizeof(elect->texts[0]); i++)
		free(elect->texts[i]);
	if (elect->wake >= 0)
		close(elect->wake);
	pthread_mutex_destroy(&elect->lock);
	free(elect);
}

void wc_elect_leader(struct wc_elect *elect, struct wc_leader *ret_leader)
{
	pthread_mutex_lock(&elect->lock);
	*ret_leader = elect->leader;
	pthread_mutex_unlock(&elect->lock);
}

void wc_elect_gone(struct wc_elect *elect, uint64_t term)
{
	atomic_store(&elect->gone, term);
	wake(elect);
}

json_t *wc_elect_json(struct wc_elect *elect)
{
	struct wc_leader leader;
	char why[sizeof(elect->why)];

	pthread_mutex_lock(&elect->lock);
	leader = elect->leader;
	memcpy(why, elect->why, sizeof(why));
	pthread_mutex_unlock(&elect->lock);
	return json_pack("{s:s, s:b, s:s?, s:s?, s:I, s:s?}", "as", elect->plan.name, "leads", (int)leader.own,
			 "leader", leader.term ? leader.name : NULL, "door", leader.term ? leader.door : NULL, "term",
			 (json_int_t)leader.term, "etcd_error", *why ? why : NULL);
}
