/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * broker_keys.h - the file of keys, opened by the broker for the gateway: root's file stays root's, and yet the gateway, which is nobody,
 * sees new keys. What goes over is two descriptors; whose file it is, and what is in it, is looked at by the gateway. The gateway's side is
 * wc_broker_open_keys() in broker.h.
 */
#ifndef WC_GATEWAY_BROKER_KEYS_H
#define WC_GATEWAY_BROKER_KEYS_H

/* The broker's side: opens `path`, and nothing else, each time that it is asked, until the gateway has closed the channel. */
void wc_broker_keys_serve(int fd, const char *path);

#endif
