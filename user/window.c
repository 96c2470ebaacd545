/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* window.c - see window.h. */
#include "user/window.h"

#include "user/clock.h"

/* The way of the newest id of a set; others may be writing, then it is about right. */
static uint32_t newest_of(const uint64_t slot[WC_SEEN_WAYS])
{
	for (uint32_t way = 0; way < WC_SEEN_WAYS; way++) {
		uint32_t next = (way + 1) % WC_SEEN_WAYS;

		if (((WC_SEEN_NUMBER(slot[next], next) - WC_SEEN_NUMBER(slot[way], way)) & 0x7fff) != 1)
			return way;
	}
	return WC_SEEN_WAYS - 1;
}

static uint64_t time_word(uint64_t value, uint64_t now_ns)
{
	return ~value << 16 | (now_ns / WC_SECOND & 0x7fff);
}

/* Does the word say when this id began? */
static bool says_when(uint64_t word, uint64_t value)
{
	return word >> 16 == time_word(value, 0) >> 16;
}

void wc_window_restarted(const struct wc_seen_set *seen, struct wc_sent *sent, uint64_t now_ns)
{
	for (uint32_t set = 0; set < WC_SEEN_SETS; set++)
		for (uint32_t way = 0; way < WC_SEEN_WAYS; way++) {
			__u64 value = WC_SEEN_FINGERPRINT(seen[set].slot[way]), *word = &sent[set].slot[way];

			if (!value || !(seen[set].slot[way] & WC_SEEN_STARTED) || *word >> 16 == value)
				continue; /* another node had it */
			if (!says_when(*word, value))
				*word = time_word(value, now_ns); /* it was about to be written */
			*word |= WC_WINDOW_BEFORE;
		}
}

void wc_window_forget(struct wc_tables *tables, const struct wc_fingerprint *print)
{
	struct wc_sent *sent = wc_sent_at(tables, print->set);

	for (uint32_t way = 0; sent && way < WC_SEEN_WAYS; way++)
		if (WC_READ(sent->slot[way]) >> 16 == print->value || says_when(WC_READ(sent->slot[way]), print->value))
			WC_WRITE(sent->slot[way], 0);
}

bool wc_window_lost(struct wc_tables *tables, const struct wc_fingerprint *print)
{
	const struct wc_seen_set *seen = wc_seen_at(tables, print->set);
	const struct wc_sent *sent = wc_sent_at(tables, print->set);

	for (uint32_t way = 0; seen && sent && way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(WC_READ(seen->slot[way])) == print->value &&
		    says_when(WC_READ(sent->slot[way]), print->value))
			return WC_READ(sent->slot[way]) & WC_WINDOW_BEFORE;
	return false;
}

void wc_window_begins(struct wc_tables *tables, const struct wc_fingerprint *print, uint64_t now_ns)
{
	const struct wc_seen_set *seen = wc_seen_at(tables, print->set);
	struct wc_sent *sent = wc_sent_at(tables, print->set);

	for (uint32_t way = 0; seen && sent && way < WC_SEEN_WAYS; way++)
		if (WC_SEEN_FINGERPRINT(WC_READ(seen->slot[way])) == print->value)
			WC_WRITE(sent->slot[way], time_word(print->value, now_ns));
}

/* Does it wait, or has it begun not long ago? */
static bool matters(uint64_t slot, uint64_t word, bool lost, uint64_t now_ns)
{
	uint64_t now = time_word(WC_SEEN_FINGERPRINT(slot), now_ns);

	if (!WC_SEEN_FINGERPRINT(slot))
		return false;
	if (!(slot & WC_SEEN_STARTED))
		return !lost;
	/* It began elsewhere, of which this host was told, as one that may lead next. */
	if (word >> 16 == WC_SEEN_FINGERPRINT(slot) && WC_SENT_MEMBER(word) == WC_MEMBER_BEFORE)
		return lost && ((now_ns / WC_SECOND - WC_SENT_EPOCH(word)) & 0xff) < WC_WINDOW_RECENT;
	return word >> 16 == now >> 16 && !(word & WC_WINDOW_BEFORE) == !lost &&
	       ((now - word) & 0x7fff) < WC_WINDOW_RECENT;
}

size_t wc_window_read(struct wc_tables *tables, uint64_t now_ns, bool lost, uint32_t *set, uint64_t *words, size_t max)
{
	size_t count = 0;

	for (; *set < WC_SEEN_SETS && count + WC_SEEN_WAYS <= max; ++*set) {
		const struct wc_seen_set *seen = wc_seen_at(tables, *set);
		const struct wc_sent *sent = wc_sent_at(tables, *set);
		uint64_t slot[WC_SEEN_WAYS];
		uint32_t newest;

		if (!seen || !sent)
			continue;
		for (uint32_t way = 0; way < WC_SEEN_WAYS; way++)
			slot[way] = WC_READ(seen->slot[way]);
		newest = newest_of(slot);
		for (uint32_t i = 1; i <= WC_SEEN_WAYS; i++) {
			uint32_t way = (newest + i) % WC_SEEN_WAYS;

			if (matters(slot[way], WC_READ(sent->slot[way]), lost, now_ns))
				words[count++] = WC_WINDOW_WORD(*set, WC_SEEN_FINGERPRINT(slot[way]));
		}
	}
	return count;
}

size_t wc_window_enter(struct wc_tables *tables, const uint64_t *words, size_t count, uint16_t member, uint32_t epoch)
{
	size_t fresh = 0;

	for (size_t i = 0; i < count; i++) {
		const struct wc_fingerprint print = { .value = words[i] & 0xffffffffffffULL,
						      .set = (uint32_t)(words[i] >> 48) };
		struct wc_sent *sent = wc_sent_at(tables, print.set);
		enum wc_seen_result seen;
		uint32_t entry;
		uint64_t word;

		if (!print.value || print.set >= WC_SEEN_SETS || !sent)
			continue;
		seen = wc_seen_enter(tables, &print, WC_SEEN_STARTED, &entry);
		if (seen == WC_SEEN_CONTENDED)
			continue;
		/* It waits here: that node has it, so it must not begin. */
		if (seen == WC_SEEN_AGAIN && wc_seen_begin(tables, &print, entry) == WC_SEEN_NEW)
			seen = WC_SEEN_NEW;
		word = WC_READ(sent->slot[entry % WC_SEEN_WAYS]);
		if (seen == WC_SEEN_NEW || (member != WC_MEMBER_BEFORE &&
					    (word >> 16 != print.value || WC_SENT_MEMBER(word) == WC_MEMBER_BEFORE)))
			WC_WRITE(sent->slot[entry % WC_SEEN_WAYS], member == WC_MEMBER_BEFORE ?
									   WC_SENT_BEFORE(&print, wc_now()) :
									   WC_SENT(&print, member, epoch));
		fresh += seen == WC_SEEN_NEW;
	}
	return fresh;
}
