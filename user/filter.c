/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* filter.c - see filter.h. */
#include "user/filter.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEW_NAMESPACES                                                                                                 \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |       \
		    CLONE_NEWNET | CLONE_NEWTIME))

/*
 * What the C library, the runtimes and ordinary programs use. A name that an architecture has not is skipped, as is one that is newer
 * than libseccomp.
 */
static const char *const allowed[] = {
	/* files */
	"access",
	"chdir",
	"chmod",
	"chown",
	"close",
	"close_range",
	"copy_file_range",
	"creat",
	"dup",
	"dup2",
	"dup3",
	"faccessat",
	"faccessat2",
	"fadvise64",
	"fallocate",
	"fchdir",
	"fchmod",
	"fchmodat",
	"fchmodat2",
	"fchown",
	"fchownat",
	"fcntl",
	"fdatasync",
	"fgetxattr",
	"flistxattr",
	"flock",
	"fremovexattr",
	"fsetxattr",
	"fstat",
	"fstatfs",
	"fsync",
	"ftruncate",
	"futimesat",
	"getcwd",
	"getdents",
	"getdents64",
	"getxattr",
	"ioctl",
	"lchown",
	"lgetxattr",
	"link",
	"linkat",
	"listxattr",
	"llistxattr",
	"lremovexattr",
	"lseek",
	"lsetxattr",
	"lstat",
	"mkdir",
	"mkdirat",
	"newfstatat",
	"open",
	"openat",
	"openat2",
	"pipe",
	"pipe2",
	"pread64",
	"preadv",
	"preadv2",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"read",
	"readahead",
	"readlink",
	"readlinkat",
	"readv",
	"removexattr",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"sendfile",
	"setxattr",
	"splice",
	"stat",
	"statfs",
	"statx",
	"symlink",
	"symlinkat",
	"sync",
	"sync_file_range",
	"syncfs",
	"tee",
	"truncate",
	"umask",
	"unlink",
	"unlinkat",
	"utime",
	"utimensat",
	"utimes",
	"vmsplice",
	"write",
	"writev",
	"mknod",
	"mknodat",
	/* memory */
	"brk",
	"madvise",
	"membarrier",
	"mincore",
	"mlock",
	"mlock2",
	"mlockall",
	"mprotect",
	"mremap",
	"msync",
	"munlock",
	"munlockall",
	"munmap",
	"pkey_alloc",
	"pkey_free",
	"pkey_mprotect",
	"remap_file_pages",
	"get_mempolicy",
	"set_mempolicy_home_node",
	"process_madvise",
	"mseal",
	/* processes and threads */
	"arch_prctl",
	"capget",
	"capset",
	"execve",
	"execveat",
	"exit",
	"exit_group",
	"fork",
	"get_robust_list",
	"get_thread_area",
	"getegid",
	"geteuid",
	"getgid",
	"getgroups",
	"getpgid",
	"getpgrp",
	"getpid",
	"getppid",
	"getpriority",
	"getresgid",
	"getresuid",
	"getrlimit",
	"getrusage",
	"getsid",
	"gettid",
	"getuid",
	"kill",
	"pidfd_open",
	"pidfd_send_signal",
	"prctl",
	"prlimit64",
	"rseq",
	"set_robust_list",
	"set_thread_area",
	"set_tid_address",
	"setfsgid",
	"setfsuid",
	"setgid",
	"setgroups",
	"setpgid",
	"setpriority",
	"setregid",
	"setresgid",
	"setresuid",
	"setreuid",
	"setrlimit",
	"setsid",
	"setuid",
	"tgkill",
	"times",
	"tkill",
	"vfork",
	"wait4",
	"waitid",
	"waitpid",
	"getcpu",
	"riscv_flush_icache",
	"seccomp",
	"landlock_add_rule",
	"landlock_create_ruleset",
	"landlock_restrict_self",
	"map_shadow_stack",
	/* scheduling, but for the CPUs: an invocation has one core */
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_getaffinity",
	"sched_getattr",
	"sched_getparam",
	"sched_getscheduler",
	"sched_rr_get_interval",
	"sched_yield",
	"ioprio_get",
	"ioprio_set",
	/* signals */
	"pause",
	"restart_syscall",
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigqueueinfo",
	"rt_sigreturn",
	"rt_sigsuspend",
	"rt_sigtimedwait",
	"rt_tgsigqueueinfo",
	"sigaltstack",
	"signalfd",
	"signalfd4",
	/* time */
	"alarm",
	"clock_getres",
	"clock_gettime",
	"clock_nanosleep",
	"getitimer",
	"gettimeofday",
	"nanosleep",
	"setitimer",
	"time",
	"timer_create",
	"timer_delete",
	"timer_getoverrun",
	"timer_gettime",
	"timer_settime",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_settime",
	/* waiting */
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_ctl_old",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"epoll_wait_old",
	"eventfd",
	"eventfd2",
	"futex",
	"futex_requeue",
	"futex_wait",
	"futex_waitv",
	"futex_wake",
	"poll",
	"ppoll",
	"pselect6",
	"select",
	/* sockets; socket() itself is below */
	"accept",
	"accept4",
	"bind",
	"connect",
	"getpeername",
	"getsockname",
	"getsockopt",
	"listen",
	"recv",
	"recvfrom",
	"recvmmsg",
	"recvmsg",
	"send",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	"socketcall",
	"socketpair",
	/* between processes */
	"mq_getsetattr",
	"mq_notify",
	"mq_open",
	"mq_timedreceive",
	"mq_timedsend",
	"mq_unlink",
	"msgctl",
	"msgrcv",
	"msgsnd",
	"semctl",
	"semop",
	"semtimedop",
	"shmat",
	"shmctl",
	"shmdt",
	/* the machine */
	"getrandom",
	"sysinfo",
	"uname",
};

/*
 * How a zygote puts an instance into its sandbox: only with the key as sixth argument, which these calls have no use for, and which the
 * instance forgets. A second filter for each instance would say the same, for 31 us a start. clone3() is not told to be refused: it
 * does not exist, and the C library falls back to clone().
 */
static const char *const entering[] = {
	"move_mount",
	"setns",
};

/* What makes memory, for one process or the system, that no limit of a process counts. */
static const char *const sharing[] = {
	"memfd_create",
	"msgget",
	"semget",
	"shmget",
};

/* Programs ask for these and know what EPERM means; without the rights that an instance has not they would fail anyhow. */
static const char *const refused[] = {
	"acct",
	"add_key",
	"adjtimex",
	"bpf",
	"chroot",
	"clock_adjtime",
	"clock_settime",
	"delete_module",
	"fanotify_init",
	"fanotify_mark",
	"finit_module",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"init_module",
	"inotify_init", /* there are few for a host, and those of a sandbox count for root */
	"inotify_init1",
	"io_setup", /* there are few for a host */
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	"ioperm",
	"iopl",
	"kcmp",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"mbind",
	"migrate_pages",
	"modify_ldt",
	"mount",
	"mount_setattr",
	"move_pages",
	"name_to_handle_at",
	"nfsservctl",
	"open_by_handle_at",
	"open_tree",
	"perf_event_open",
	"personality",
	"pidfd_getfd",
	"pivot_root",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	"quotactl",
	"quotactl_fd",
	"reboot",
	"request_key",
	"sched_setaffinity",
	"sched_setattr",
	"sched_setparam",
	"sched_setscheduler",
	"set_mempolicy",
	"setdomainname",
	"sethostname",
	"settimeofday",
	"swapoff",
	"swapon",
	"syslog",
	"umount",
	"umount2",
	"unshare",
	"uselib",
	"userfaultfd",
	"vhangup",
};

/* In an empty network namespace; what a function can reach over them is decided there. VSOCK and others know no namespaces. In ascending order. */
static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };

static int add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	if (number == __NR_SCMP_ERROR || number < 0)
		return 0;
	return seccomp_rule_add(filter, action, number, 0);
}

/*
 * Each of the others is refused as by a kernel that has not got it, which is what programs look for. A rule without a condition would
 * outweigh those with one, so what is between the allowed ones is listed.
 */
static int fill_families(scmp_filter_ctx filter)
{
	scmp_datum_t next = 0;
	int error = 0;

	for (size_t i = 0; !error && i < sizeof(families) / sizeof(families[0]); i++) {
		for (; !error && next < (scmp_datum_t)families[i]; next++)
			error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
						 SCMP_A0(SCMP_CMP_EQ, next));
		next = (scmp_datum_t)families[i] + 1;
		if (!error)
			error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
						 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	}
	return error ?:
		       seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
					SCMP_A0(SCMP_CMP_GE, next));
}

static int fill_entering(scmp_filter_ctx filter, uint64_t key)
{
	int error = 0;

	for (size_t i = 0; !error && i < sizeof(entering) / sizeof(entering[0]); i++) {
		int number = seccomp_syscall_resolve_name(entering[i]);

		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, SCMP_A5(SCMP_CMP_EQ, key)) ?:
				seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 1, SCMP_A5(SCMP_CMP_NE, key));
	}
	return error ?: seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone3), 1, SCMP_A5(SCMP_CMP_EQ, key));
}

/*
 * Threads and processes, but no namespaces. The flags of clone3() are in memory, where no filter sees them. CLONE_PARENT would make a
 * child of the daemon's, which does not know it, and without its reaping the sandbox would not end.
 */
static int fill_clone(scmp_filter_ctx filter, uint64_t key)
{
	const struct scmp_arg_cmp child = SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES | CLONE_PARENT, 0),
				  sibling = SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES | CLONE_PARENT, CLONE_PARENT),
				  with = SCMP_A5(SCMP_CMP_EQ, key), without = SCMP_A5(SCMP_CMP_NE, key);
	const int number = SCMP_SYS(clone);
	int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1, child);

	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 2, sibling, with);
	return error ?: seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 2, sibling, without);
}

#define MAP_OF_ITS_OWN 0x08 /* MAP_DROPPABLE (Linux 6.11), which the C library asks for */

/*
 * Without: mappings of no file must be private. All other values of the masked bits that the kernel takes are listed, because a rule
 * without a condition would outweigh those with one. EPERM: there is memory, and who reads that looks here, or at docs/SANDBOX.md.
 */
static int fill_sharing(scmp_filter_ctx filter, bool shared_memory)
{
	static const scmp_datum_t mask = MAP_TYPE | MAP_ANONYMOUS,
				  kinds[] = { MAP_PRIVATE, MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED, MAP_SHARED_VALIDATE,
					      MAP_OF_ITS_OWN | MAP_ANONYMOUS };
	int error = 0;

	for (size_t i = 0; !error && i < sizeof(sharing) / sizeof(sharing[0]); i++)
		error = shared_memory ? add(filter, SCMP_ACT_ALLOW, sharing[i]) : 0;
	if (error || shared_memory)
		return error ?: add(filter, SCMP_ACT_ALLOW, "mmap");
	for (size_t i = 0; !error && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
					 SCMP_A3(SCMP_CMP_MASKED_EQ, mask, kinds[i]));
	return error ?:
		       seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
					SCMP_A3(SCMP_CMP_MASKED_EQ, mask, MAP_SHARED | MAP_ANONYMOUS));
}

static int fill(scmp_filter_ctx filter, bool shared_memory, uint64_t key)
{
	int error = 0;

	for (size_t i = 0; !error && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		error = add(filter, SCMP_ACT_ALLOW, allowed[i]);
	for (size_t i = 0; !error && i < sizeof(refused) / sizeof(refused[0]); i++)
		error = add(filter, SCMP_ACT_ERRNO(EPERM), refused[i]);
	if (!error)
		error = fill_families(filter);
	if (!error)
		error = fill_sharing(filter, shared_memory);
	if (!error)
		error = fill_entering(filter, key);
	return error ?: fill_clone(filter, key);
}

int wc_filter_make(bool shared_memory, struct wc_fault *fault)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int fd = memfd_create("warmcore-filter", MFD_CLOEXEC | MFD_ALLOW_SEALING), error;
	uint64_t key;

	error = !filter ? -ENOMEM : fd < 0 ? -errno : 0;
	if (!error && (getrandom(&key, sizeof(key), 0) != sizeof(key) || write(fd, &key, sizeof(key)) != sizeof(key)))
		error = -errno;
	/* Calls of another architecture (x32, 32 bits) end the process: nothing here makes them. */
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a chain */
	if (!error)
		error = fill(filter, shared_memory, key);
	if (!error)
		error = seccomp_export_bpf(filter, fd);
	if (!error && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL))
		error = -errno;
	if (filter)
		seccomp_release(filter);
	if (!error)
		return fd;
	if (fd >= 0)
		close(fd);
	return wc_fail(fault, error, "cannot make the filter of system calls: %s", strerror(-error));
}
