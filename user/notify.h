/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * notify.h - tells systemd how a service is doing, as sd_notify(3) does. The protocol is one datagram, stable and documented on that page for
 * programs that speak it themselves; libsystemd would bring five more libraries into a daemon of root (liblzma among them).
 */
#ifndef WC_NOTIFY_H
#define WC_NOTIFY_H

/* "READY=1", "MAINPID=123" ...; without systemd it does nothing. It never waits, and never fails. */
void wc_notify(const char *state);

#endif
