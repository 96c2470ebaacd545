/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shim.h - the one place where BPF and user space differ.
 *
 * Every other header in this folder is pure, bounded C that both compile. BPF gets its types from vmlinux.h and its
 * atomics from the __sync builtins (sequentially consistent in the kernel's memory model when they return a value);
 * user space uses the same builtins, which are full barriers there too, so a protocol proved on one side holds on
 * the other, and in between: both run on the same memory-mapped words.
 */
#ifndef WC_SHIM_H
#define WC_SHIM_H

#ifdef __bpf__
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#define wc_ntohs(x) bpf_ntohs(x)
#define wc_ntohl(x) bpf_ntohl(x)
#define wc_be64(x) bpf_cpu_to_be64(x)
#define WC_UNROLL _Pragma("unroll")
/* Call step(index, context) for 0 .. count - 1 until it returns non-zero. The verifier looks at the step only once. */
#define wc_loop(count, step, context) bpf_loop((count), (step), (context), 0)
#define wc_random() bpf_get_prandom_u32()
#else
#include <arpa/inet.h>
#include <endian.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#define wc_ntohs(x) ntohs(x)
#define wc_ntohl(x) ntohl(x)
#define wc_be64(x) htobe64(x)
#define WC_UNROLL
static inline void wc_loop(__u32 count, long (*step)(__u32, void *), void *context)
{
	for (__u32 i = 0; i < count && !step(i, context); i++)
		;
}
#ifdef WC_RANDOM
/* Whoever includes this has numbers of its own: the simulator's follow from a seed. */
__u32 WC_RANDOM(void);
#define wc_random() WC_RANDOM()
#else
/* Not for secrets: which core gets something. xorshift64* (Vigna 2016), one state a thread. */
static inline __u32 wc_random(void)
{
	static __thread __u64 state;

	if (!state)
		state = (__u64)(__UINTPTR_TYPE__)&state * 0x9e3779b97f4a7c15ULL | 1;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (__u32)(state * 0x2545f4914f6cdd1dULL >> 32);
}
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#endif

/*
 * WC_GLOBAL(type, name, parameter): a function of (tables, one __u32). In BPF it is a global function, which the verifier
 * checks once and not again for every path that leads to a call; such a function cannot take the (absent) tables.
 * WC_GLOBAL_AT(type, name, struct_type, pointer): likewise, of (tables, pointer); it must check the pointer, for the verifier.
 */
#ifdef __bpf__
#define WC_GLOBAL(type, name, parameter)                                                                               \
	struct wc_tables;                                                                                              \
	type name##_global(__u32 parameter);                                                                           \
	static __always_inline type name(struct wc_tables *tables, __u32 parameter)                                    \
	{                                                                                                              \
		(void)tables;                                                                                          \
		return name##_global(parameter);                                                                       \
	}                                                                                                              \
	__attribute__((noinline)) type name##_global(__u32 parameter)
#define WC_GLOBAL_AT(type, name, struct_type, pointer)                                                                 \
	struct wc_tables;                                                                                              \
	type name##_global(struct_type *pointer);                                                                      \
	static __always_inline type name(struct wc_tables *tables, struct_type *pointer)                               \
	{                                                                                                              \
		(void)tables;                                                                                          \
		return name##_global(pointer);                                                                         \
	}                                                                                                              \
	__attribute__((noinline)) type name##_global(struct_type *pointer)
#define WC_TABLES NULL
#else
#define WC_GLOBAL(type, name, parameter) static inline type name(struct wc_tables *tables, __u32 parameter)
#define WC_GLOBAL_AT(type, name, struct_type, pointer)                                                                 \
	static inline type name(struct wc_tables *tables, struct_type *pointer)
#define WC_TABLES tables
#endif

/*
 * Memory that a BPF program and user space share, of the given number of entries: an array, whose map is NAME; or a variable NAME_data,
 * whose map, called .data.NAME, has one entry that holds them all.
 */
#ifdef __bpf__
#define WC_ARRAY(name, entry, count)                                                                                   \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__uint(map_flags, BPF_F_MMAPABLE);                                                                     \
		__uint(max_entries, count);                                                                            \
		__type(key, __u32);                                                                                    \
		__type(value, entry);                                                                                  \
	} name SEC(".maps")
#define WC_VARIABLE(name, entry, count)                                                                                \
	enum {                                                                                                         \
		name##_count = (count)                                                                                 \
	};                                                                                                             \
	entry name##_data[count] SEC(".data." #name)
#endif

/*
 * Words of a frame, which lie at any address. User space must tell the compiler; BPF must not, because clang would then load
 * byte by byte, although the verifier allows unaligned packet loads where the machine does.
 */
#ifdef __bpf__
#define wc_load32(pointer) (*(const __u32 *)(pointer))
#define wc_load64(pointer) (*(const __u64 *)(pointer))
#else
static inline __u32 wc_load32(const void *pointer)
{
	__u32 word;

	memcpy(&word, pointer, sizeof(word));
	return word;
}
static inline __u64 wc_load64(const void *pointer)
{
	__u64 word;

	memcpy(&word, pointer, sizeof(word));
	return word;
}
#endif

/* Two halves of 16 bits, in the order in which they would lie in memory, as one word. */
static __always_inline __u32 wc_pair(__u16 first, __u16 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (__u32)second << 16;
#else
	return (__u32)first << 16 | second;
#endif
}

/*
 * Keep the low bits of a value that has no others. Verifiers before Linux 6.18.44 forget bounds, at a byte swap and at a
 * subtraction, where clang remembers them and would drop a mask in C.
 */
#ifdef __bpf__
#define wc_bound(x, mask) asm volatile("%0 &= %1" : "+r"(x) : "i"(mask))
#else
#define wc_bound(x, mask) ((void)((x) &= (mask)))
#endif

#define wc_htons(x) wc_ntohs(x)
#define wc_htonl(x) wc_ntohl(x)

/* A single copy of a word that another CPU may be writing; the compiler may neither tear nor repeat it. */
#define WC_READ(x) (*(const volatile __typeof__(x) *)&(x))
#define WC_WRITE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* The compiler forgets what it knows about a variable. */
#define wc_hide(x) asm volatile("" : "+r"(x))

/*
 * They return the value before the operation, and are full barriers then. When nobody looks at the value, clang makes BPF
 * instructions without it, which are cheaper, and which the kernel does not order on all machines: where the order matters,
 * wc_hide() the value.
 */
#ifdef WC_ALONE
/* One thread has the tables for itself (the simulator): the same operations on memory that nobody else sees. */
#define WC_ALONE_OP(p, after)                                                                                          \
	({                                                                                                             \
		__typeof__(*(p)) was_ = *(p);                                                                          \
		*(p) = (__typeof__(*(p)))(after);                                                                      \
		was_;                                                                                                  \
	})
#define wc_fetch_and(p, v) WC_ALONE_OP(p, was_ &(v))
#define wc_fetch_or(p, v) WC_ALONE_OP(p, was_ | (v))
#define wc_fetch_add(p, v) WC_ALONE_OP(p, was_ + (v))
#define wc_cas(p, was, now) WC_ALONE_OP(p, was_ == (was) ? (now) : was_)
#else
#define wc_fetch_and(p, v) __sync_fetch_and_and((p), (v))
#define wc_fetch_or(p, v) __sync_fetch_and_or((p), (v))
#define wc_fetch_add(p, v) __sync_fetch_and_add((p), (v))
#define wc_cas(p, was, now) __sync_val_compare_and_swap((p), (was), (now))
#endif

#ifdef __bpf__
/*
 * Index of the lowest set bit, by a de Bruijn sequence (Leiserson, Prokop, Randall 1998): BPF has no instruction for it.
 * A table rather than compares: after compares the verifier would know the index and follow all 64 of them.
 */
static const __u8 wc_debruijn[64] = {
	0,  1,	2,  7,	3,  13, 8,  19, 4,  25, 14, 28, 9,  34, 20, 40, 5,  17, 26, 38, 15, 46,
	29, 48, 10, 31, 35, 54, 21, 50, 41, 57, 63, 6,	12, 18, 24, 27, 33, 39, 16, 37, 45, 47,
	30, 53, 49, 56, 62, 11, 23, 32, 36, 44, 52, 55, 61, 22, 43, 51, 60, 42, 59, 58,
};

/* word must not be 0. */
static __always_inline __u32 wc_lowest_bit(__u64 word)
{
	__u32 index = wc_debruijn[((word & -word) * 0x0218a392cd3d5dbfULL) >> 58];

	asm volatile("%0 &= 63" : "+r"(index)); /* in assembly: clang knows the table and would drop the bound */
	return index;
}
#else
static inline __u32 wc_lowest_bit(__u64 word)
{
	return (__u32)__builtin_ctzll(word);
}
#endif

#endif
