/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mix.h - arithmetic on one word: a hash, and a comparison without a branch. */
#ifndef WC_MIX_H
#define WC_MIX_H

#include "bpf/shim.h"

/* Finalizer of MurmurHash3 (A. Appleby, public domain): every input bit flips half of the output bits. */
static __always_inline __u64 wc_mix(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

/* 1 if x is 0, else 0, for x below 2^63. Without a branch: the verifier need not follow both ways for each of 8 slots. */
static __always_inline __u64 wc_is_zero(__u64 x)
{
	x--;
	wc_hide(x); /* or clang makes a branch of it again */
	return x >> 63;
}

#endif
