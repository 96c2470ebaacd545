// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* scrape.c - see scrape.h. What the families of the gateway are is in scrape_text.c. */
#include "user/gateway/scrape.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "user/clock.h"
#include "user/gateway/reply.h"
#include "user/gateway/scrape_text.h"
#include "user/metrics.h"

#define NICE 10

/* A text, which several requests may share. */
struct page {
	atomic_uint references;
	char *text; /* NULL: there was no memory */
	size_t length;
};

struct scrape {
	struct scrape *next;
	struct desk *desk;
	struct wc_exchange *exchange; /* its loop's; NULL: the client went away */
	bool open;
	struct page *page;
};

/* Where a loop hears from the thread. */
struct desk {
	struct wc_scraper *scraper;
	int fd;
	struct scrape *done; /* under the scraper's lock */
};

struct wc_scraper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct scrape *waiting;
	unsigned count; /* of requests that have no answer yet */
	bool stopping;
	int channel;
	unsigned late; /* the thread's, of the channel */
	struct wc_scrape_source source;
};

/* --- the thread --- */

static struct page *page_new(void)
{
	struct page *page = calloc(1, sizeof(*page));

	if (page)
		atomic_store(&page->references, 1);
	return page;
}

static void page_put(struct page *page)
{
	if (!page || atomic_fetch_sub(&page->references, 1) > 1)
		return;
	free(page->text);
	free(page);
}

/* One look at the node for all that wait. */
static void serve(struct wc_scraper *scraper, struct scrape *list)
{
	struct page *pages[2] = { NULL, NULL };
	uint64_t begun = wc_now();
	json_t *answer = NULL;

	if (wc_broker_ask_wait(scraper->channel, &scraper->late, "metrics", WC_BROKER_TIMEOUT_MS + 1000, &answer))
		answer = NULL;
	scraper->source.node_ns = wc_now() - begun;
	for (struct scrape *scrape = list; scrape; scrape = scrape->next) {
		struct page **page = &pages[scrape->open];

		if (!*page && (*page = page_new()))
			(*page)->text = wc_scrape_text(&scraper->source, answer, scrape->open, &(*page)->length);
		scrape->page = *page;
		if (*page)
			atomic_fetch_add(&(*page)->references, 1);
	}
	page_put(pages[0]);
	page_put(pages[1]);
	json_decref(answer);
}

static void *run(void *argument)
{
	struct wc_scraper *scraper = argument;
	struct scrape *list, *next;
	uint64_t one = 1;

	pthread_setname_np(pthread_self(), "metrics");
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE); /* after whoever has a request */
	pthread_mutex_lock(&scraper->lock);
	while (!scraper->stopping) {
		list = scraper->waiting;
		if (!list) {
			pthread_cond_wait(&scraper->more, &scraper->lock);
			continue;
		}
		scraper->waiting = NULL;
		pthread_mutex_unlock(&scraper->lock);
		serve(scraper, list);
		pthread_mutex_lock(&scraper->lock);
		for (; list; list = next) {
			next = list->next;
			list->next = list->desk->done;
			list->desk->done = list;
			if (write(list->desk->fd, &one, sizeof(one)) < 0)
				errno = 0; /* EAGAIN: it is being woken already */
		}
	}
	pthread_mutex_unlock(&scraper->lock);
	return NULL;
}

/* --- the loops --- */

static void on_gone(void *context)
{
	((struct scrape *)context)->exchange = NULL;
}

void wc_scraper_request(struct wc_gateway *gateway, struct wc_exchange *exchange)
{
	const struct wc_text *accept = wc_request_header(wc_exchange_request(exchange), "accept");
	struct wc_scraper *scraper = gateway->desk->scraper;
	struct scrape *scrape = calloc(1, sizeof(*scrape));
	bool room;

	if (!scrape) {
		wc_reply_status(exchange, 500, "the gateway is out of memory");
		return;
	}
	scrape->desk = gateway->desk;
	scrape->exchange = exchange;
	scrape->open = accept && wc_metrics_wants_open(accept->at, accept->length);
	pthread_mutex_lock(&scraper->lock);
	room = scraper->count < WC_SCRAPES_MAX;
	if (room) {
		scraper->count++;
		scrape->next = scraper->waiting;
		scraper->waiting = scrape;
		pthread_cond_signal(&scraper->more);
	}
	pthread_mutex_unlock(&scraper->lock);
	if (!room) {
		free(scrape);
		wc_reply_status(exchange, 429, "Rate Exceeded: too many ask for the metrics at once");
		return;
	}
	wc_exchange_on_gone(exchange, on_gone, scrape);
}

static void respond(const struct scrape *scrape)
{
	struct wc_response response = { .status = 200 };

	if (!scrape->page || !scrape->page->text) {
		wc_reply_status(scrape->exchange, 500, "the gateway is out of memory");
		return;
	}
	response.body = (struct wc_text){ scrape->page->text, scrape->page->length };
	wc_response_add(&response, "content-type", wc_text(scrape->open ? WC_METRICS_OPEN_TYPE : WC_METRICS_TEXT_TYPE));
	wc_response_add(&response, "cache-control", wc_text("no-store"));
	wc_response_add(&response, "vary", wc_text("accept"));
	wc_exchange_respond(scrape->exchange, &response);
}

void wc_scraper_readable(struct wc_gateway *gateway)
{
	struct wc_scraper *scraper = gateway->desk->scraper;
	struct scrape *list, *next;
	uint64_t drained;

	if (read(gateway->desk->fd, &drained, sizeof(drained)) < 0)
		return;
	pthread_mutex_lock(&scraper->lock);
	list = gateway->desk->done;
	gateway->desk->done = NULL;
	for (struct scrape *scrape = list; scrape; scrape = scrape->next)
		scraper->count--;
	pthread_mutex_unlock(&scraper->lock);
	for (; list; list = next) {
		next = list->next;
		if (list->exchange)
			respond(list);
		page_put(list->page);
		free(list);
	}
}

int wc_scraper_fd(const struct wc_gateway *gateway)
{
	return gateway->desk->fd;
}

int wc_scraper_add(struct wc_scraper *scraper, struct wc_gateway *gateway)
{
	struct desk *desk = calloc(1, sizeof(*desk));

	if (!desk)
		return -ENOMEM;
	desk->scraper = scraper;
	desk->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (desk->fd < 0) {
		free(desk);
		return -errno;
	}
	gateway->desk = desk;
	pthread_mutex_lock(&scraper->lock);
	scraper->source.gateways[scraper->source.count++] = gateway;
	pthread_mutex_unlock(&scraper->lock);
	return 0;
}

/* --- making it --- */

int wc_scraper_new(int channel, struct wc_async_worker *async, struct wc_scraper **ret_scraper)
{
	struct wc_scraper *scraper = calloc(1, sizeof(*scraper));
	int ret;

	if (!scraper)
		return -ENOMEM;
	scraper->channel = channel;
	scraper->source.async = async;
	pthread_mutex_init(&scraper->lock, NULL);
	pthread_cond_init(&scraper->more, NULL);
	ret = pthread_create(&scraper->thread, NULL, run, scraper);
	if (ret) {
		free(scraper);
		return -ret;
	}
	*ret_scraper = scraper;
	return 0;
}

void wc_scraper_free(struct wc_scraper *scraper)
{
	if (!scraper)
		return;
	pthread_mutex_lock(&scraper->lock);
	scraper->stopping = true;
	pthread_cond_signal(&scraper->more);
	pthread_mutex_unlock(&scraper->lock);
	shutdown(scraper->channel, SHUT_RDWR); /* it may wait for an answer */
	pthread_join(scraper->thread, NULL);
	close(scraper->channel);
	free(scraper);
}
