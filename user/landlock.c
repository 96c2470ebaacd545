/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* landlock.c - see landlock.h. */
#include "user/landlock.h"

#include "runtimes/abi/landlock.h"

int wc_landlock_probe(const char **ret_why)
{
	int version = wc_landlock_version();

	*ret_why = version	       ? "" :
		   errno == EOPNOTSUPP ? "it was not chosen at boot; put landlock into the kernel's lsm=" :
		   errno == ENOSYS     ? "the kernel has none (5.19 or later with CONFIG_SECURITY_LANDLOCK=y has it)" :
					 "a seccomp filter, of a container perhaps, refuses landlock_create_ruleset(2)";
	return version;
}

const char *wc_landlock_text(int version)
{
	return version >= WC_LANDLOCK_SCOPES ? "files, signals, abstract Unix sockets" :
					       "files; since Linux 6.12 also signals and abstract Unix sockets";
}
