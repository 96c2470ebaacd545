/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sim_near.h - how many invocations tests of the simulator take, and how near to theory a figure of them has to be. */
#ifndef WC_TESTS_SIM_NEAR_H
#define WC_TESTS_SIM_NEAR_H

#include <math.h>

#ifdef __SANITIZE_ADDRESS__
#define INVOCATIONS 200000 /* that nothing is read that should not be; the figures are for the other variant */
#define PART 0.05
#else
#define INVOCATIONS 2000000
#define PART 0.01
#endif

#define assert_near(value, expected, part)                                                                             \
	do {                                                                                                           \
		double is = (value), be = (expected);                                                                  \
		if (!(fabs(is - be) <= (part)*fabs(be)))                                                               \
			fail_msg("%s is %g, not %g", #value, is, be);                                                  \
	} while (0)

#endif
