/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * zygote.h - be a zygote (../abi/zygote.h): for every runtime whose process can be forked.
 *
 *     if (wc_zygote_fd() >= 0) {
 *             wc_zygote_prepare();
 *             load everything that functions may need;
 *             if (wc_zygote_serve(wc_zygote_fd(), NULL) == 0)
 *                     return 0;     // the daemon has gone
 *     }
 *     // here: an instance, whether it was forked or started; environ is that of the function
 */
#ifndef WC_ZYGOTE_H
#define WC_ZYGOTE_H

/* For a runtime that has locks to take around a fork. Any of them may be NULL. */
struct wc_zygote_hooks {
	void (*before)(void);
	void (*after_parent)(void);
	void (*after_child)(void);
};

/* The socket of a zygote, or -1: this process was started as an instance. */
int wc_zygote_fd(void);

/* Put off the rights that a zygote does not need, before it loads anything that others wrote. Once is enough. 0 or a negative errno. */
int wc_zygote_prepare(void);

/*
 * Say READY and fork instances for as long as the daemon wants some. Returns 1 in each instance, with its environment,
 * its rights and its channel; 0 in the zygote, at the end; a negative errno when the daemon broke the contract, or when
 * this process has other threads, which would be missing in its children (-EBUSY).
 */
int wc_zygote_serve(int fd, const struct wc_zygote_hooks *hooks);

#endif
