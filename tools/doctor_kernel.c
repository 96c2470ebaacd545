// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* doctor_kernel.c - checks of kernel features: versions, BPF, AF_XDP, control groups; see doctor.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tools/doctor.h"
#include "user/cgroups.h"
#include "user/sched_ext.h"

#define KERNEL_NEEDED_MAJOR 5
#define KERNEL_NEEDED_MINOR 18
#define BPF_FS "/sys/fs/bpf"

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

unsigned doctor_kernel_version(void)
{
	unsigned major, minor;
	struct utsname name;

	if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		return 0;
	return major << 16 | minor << 8;
}

static void check_version(struct finding *finding)
{
	struct utsname name;

	uname(&name);
	if (doctor_kernel_version() >= (KERNEL_NEEDED_MAJOR << 16 | KERNEL_NEEDED_MINOR << 8)) {
		finding_set(finding, OUTCOME_OK, "%s, %s", name.release, name.machine);
		return;
	}
	finding_set(finding, OUTCOME_MISSING, "%s is older than %d.%d", name.release, KERNEL_NEEDED_MAJOR,
		    KERNEL_NEEDED_MINOR);
	finding_remedy(finding,
		       "boot a newer kernel (Debian 12, Ubuntu 24.04 and later have one), or use --datapath user");
}

static void check_btf(struct finding *finding)
{
	if (!access("/sys/kernel/btf/vmlinux", R_OK)) {
		finding_set(finding, OUTCOME_OK, "/sys/kernel/btf/vmlinux");
		return;
	}
	finding_set(finding, OUTCOME_MISSING, "/sys/kernel/btf/vmlinux is not there");
	finding_remedy(finding, "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the distributions' own are");
}

/* Two instructions: return XDP_PASS. */
static int load_xdp(void)
{
	static const struct bpf_insn program[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	static const char license[] = "GPL";
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = sizeof(program) / sizeof(program[0]);
	attr.license = (uintptr_t)license;
	fd = (int)bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int create_map(unsigned type, unsigned entries, unsigned flags)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = type;
	attr.key_size = sizeof(__u32);
	attr.value_size = sizeof(__u32);
	attr.max_entries = entries;
	attr.map_flags = flags;
	fd = (int)bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* What the error of a BPF command means: EPERM says nothing about the kernel when we lack the rights. */
static void tell_bpf(struct finding *finding, int error, const char *what, const char *option)
{
	if (!error) {
		finding_set(finding, OUTCOME_OK, "%s", what);
	} else if (error == -EPERM && !doctor_capable(CAP_BPF) && !doctor_capable(CAP_SYS_ADMIN)) {
		finding_set(finding, OUTCOME_WARNING, "not checked: it needs CAP_BPF");
		finding_remedy(finding, "run doctor as root");
	} else if (error == -EPERM) {
		finding_set(finding, OUTCOME_MISSING, "refused although CAP_BPF is there");
		finding_remedy(
			finding,
			"a security module, kernel lockdown or a container's seccomp filter refuses bpf(2): allow it, "
			"or use --datapath user");
	} else {
		finding_set(finding, OUTCOME_MISSING, "%s", strerror(-error));
		finding_remedy(finding, "boot a kernel built with %s", option);
	}
}

static void check_xdp(struct finding *finding)
{
	tell_bpf(finding, load_xdp(), "an XDP program loads", "CONFIG_BPF_SYSCALL=y");
}

static void check_mmapable(struct finding *finding)
{
	tell_bpf(finding, create_map(BPF_MAP_TYPE_ARRAY, 1, BPF_F_MMAPABLE), "an array with BPF_F_MMAPABLE can be made",
		 "CONFIG_BPF_SYSCALL=y, 5.5 or later");
}

static void check_xskmap(struct finding *finding)
{
	tell_bpf(finding, create_map(BPF_MAP_TYPE_XSKMAP, 1, 0), "a map of AF_XDP sockets can be made",
		 "CONFIG_XDP_SOCKETS=y");
}

static void check_af_xdp(struct finding *finding)
{
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		close(fd);
		finding_set(finding, OUTCOME_OK, "a socket can be opened");
	} else if (errno == EPERM && !doctor_capable(CAP_NET_RAW)) {
		finding_set(finding, OUTCOME_WARNING, "not checked: it needs CAP_NET_RAW");
		finding_remedy(finding, "run doctor as root");
	} else {
		finding_set(finding, OUTCOME_MISSING, "no socket of family AF_XDP: %s", strerror(errno));
		finding_remedy(finding, "boot a kernel built with CONFIG_XDP_SOCKETS=y, or use --datapath user");
	}
}

static void check_jit(struct finding *finding)
{
	FILE *file = fopen("/proc/sys/net/core/bpf_jit_enable", "re");
	int enabled = -1;

	if (file) {
		if (fscanf(file, "%d", &enabled) != 1)
			enabled = -1;
		fclose(file);
	}
	if (enabled > 0) {
		finding_set(finding, OUTCOME_OK, "on");
	} else if (enabled == 0) {
		finding_set(finding, OUTCOME_WARNING, "off: BPF programs are interpreted, several times slower");
		finding_remedy(finding, "sysctl net.core.bpf_jit_enable=1");
	} else {
		/* not there in other network namespaces; kernels with BPF_JIT_ALWAYS_ON have nothing to switch */
		finding_set(finding, OUTCOME_INFO, "net.core.bpf_jit_enable cannot be read");
	}
}

static int mount_bpf_fs(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return errno;
	return mount("bpf", BPF_FS, "bpf", 0, NULL) ? errno : 0;
}

static void check_bpf_fs(struct finding *finding)
{
	struct statfs fs;
	int ret;

	if (!statfs(BPF_FS, &fs) && fs.f_type == BPF_FS_MAGIC) {
		finding_set(finding, OUTCOME_OK, "mounted on " BPF_FS);
		return;
	}
	ret = doctor_try(mount_bpf_fs);
	if (!ret) {
		finding_set(finding, OUTCOME_OK, "not mounted on " BPF_FS ", but can be; the daemon does it");
	} else if (ret == EPERM && !doctor_capable(CAP_SYS_ADMIN)) {
		finding_set(finding, OUTCOME_WARNING,
			    "not mounted on " BPF_FS "; whether it can be needs CAP_SYS_ADMIN");
		finding_remedy(finding, "run doctor as root, or as root: mount -t bpf bpf " BPF_FS);
	} else {
		finding_set(finding, OUTCOME_MISSING, "cannot be mounted on " BPF_FS ": %s",
			    ret > 0 ? strerror(ret) : "the attempt died");
		finding_remedy(finding, "mount -t bpf bpf " BPF_FS " outside of the container, or use --datapath user");
	}
}

static void check_cgroup(struct finding *finding)
{
	const char *missing = wc_cgroups_missing();

	if (!missing) {
		finding_set(finding, OUTCOME_OK, "version 2: functions have limits of memory and processes");
		return;
	}
	finding_set(
		finding, OUTCOME_INFO,
		"%s; functions have RLIMIT_DATA (address space, not memory; none for Node.js) and RLIMIT_NPROC instead, and no "
		"shared memory without a file",
		missing);
}

static void check_sched_ext(struct finding *finding)
{
	struct wc_sched_ext now;

	if (!wc_sched_ext_read(&now)) {
		finding_set(
			finding, OUTCOME_INFO,
			"not in this kernel (6.12 or later with CONFIG_SCHED_CLASS_EXT has it): functions stay on their core by "
			"CPU affinity");
		return;
	}
	if (wc_sched_ext_free(&now)) {
		finding_set(finding, OUTCOME_INFO, "in the kernel, and free: up --sched auto takes it");
		return;
	}
	finding_set(finding, OUTCOME_INFO, "in use by the scheduler %s (%s); there can be only one",
		    now.ops[0] ? now.ops : "?", now.state);
}

const struct check doctor_kernel_checks[] = {
	{ "kernel", check_version },
	{ "BTF", check_btf },
	{ "XDP", check_xdp },
	{ "memory-mapped maps", check_mmapable },
	{ "AF_XDP map", check_xskmap },
	{ "AF_XDP", check_af_xdp },
	{ "BPF file system", check_bpf_fs },
	{ "BPF JIT", check_jit },
	{ "control groups", check_cgroup },
	{ "sched_ext", check_sched_ext },
	{ 0 },
};
