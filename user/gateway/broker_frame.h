/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* broker_frame.h - a JSON object and perhaps a descriptor, over a stream socket between the gateway and its broker; blocking. */
#ifndef WC_GATEWAY_BROKER_FRAME_H
#define WC_GATEWAY_BROKER_FRAME_H

#include <jansson.h>
#include <stddef.h>

/* `fd` -1: none. A negative errno: the channel is of no use any more. */
int wc_frame_send(int channel, const json_t *object, int fd);

/* At most `max` bytes of text. *ret_object is a new object, *ret_fd a descriptor or -1. A negative errno: as above, nothing is left open. */
int wc_frame_receive(int channel, size_t max, json_t **ret_object, int *ret_fd);

#endif
