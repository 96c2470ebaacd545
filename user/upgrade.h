/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * upgrade.h - a daemon hands over to another program, or another copy of itself, while clients go on (`warmcore upgrade`).
 *
 *   1. The new one is started beside this one, and makes everything that can be made beside it: options, configuration, the XDP program, verified,
 *      on the pinned maps. Until it says that it is prepared it can fail as it likes: this daemon just serves on.
 *   2. INVOKEs are left in the node's UDP sockets, by one word that the XDP program reads (WC_UP_HANDOVER); what runs and waits here is finished, and
 *      large results reach their clients on other hosts. When that takes longer than the time that was given, INVOKEs are taken again, and the new one ends.
 *   3. Threads stop, AF_XDP sockets close, instances end. Pins, device, sockets, lock, the ids that were seen and the kept replies stay.
 *   4. The new one goes, says when it could serve, is let, and serves; this one ends. When it fails before, this program itself is started in its place,
 *      in the same way, and finds everything as it was: whoever fails before it is let has run nothing.
 */
#ifndef WC_UPGRADE_H
#define WC_UPGRADE_H

#include "user/node.h"

#define WC_UPGRADE_TIMEOUT_MS 10000u /* new invocations wait as long, so no longer than clients do */
#define WC_UPGRADE_TIMEOUT_MS_MAX 3600000u

/* The main loop's descriptor for it, and what epoll tells with it. */
int wc_upgrade_open(int epoll, struct wc_fault *fault);
void *wc_upgrade_event(void);

/*
 * Ask the main loop, and wait: for a thread of the control socket. `timeout_ms`: for what is under way. 0 and the pid of the daemon that serves
 * now; or a negative errno and a sentence that says who does.
 */
int wc_upgrade_ask(const char *program, uint32_t timeout_ms, int *ret_pid, struct wc_fault *fault);

/* Do what was asked: for the main loop. True: another daemon serves, this one has nothing left, and is to end. */
bool wc_upgrade_run(struct wc_node *node);

/* The command line of this daemon, which is that of the next one. */
void wc_upgrade_remember(int argc, char **argv);

#endif
