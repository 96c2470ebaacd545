// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* doctor_rights.c - checks of what this process may do: capabilities, limits, namespaces, interfaces; see doctor.h. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/doctor.h"
#include "user/landlock.h"

/* What the packet memory of a node with many cores takes; see setrlimit(2), RLIMIT_MEMLOCK. */
#define MEMLOCK_WANTED (256ull << 20)

int doctor_try(int (*attempt)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(attempt());
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
}

bool doctor_capable(unsigned capability)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long effective = 0;
	char line[256];

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	fclose(file);
	return effective >> capability & 1;
}

static void check_capabilities(struct finding *finding)
{
	static const struct {
		unsigned number;
		const char *name;
	} wanted[] = {
		{ CAP_BPF, "CAP_BPF" },
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
		{ CAP_NET_RAW, "CAP_NET_RAW" },
		{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
	};
	char lacking[128] = "";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!doctor_capable(wanted[i].number))
			at += (size_t)snprintf(lacking + at, sizeof(lacking) - at, "%s%s", at ? ", " : "",
					       wanted[i].name);
	if (!at) {
		finding_set(finding, OUTCOME_OK, "CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN");
		return;
	}
	finding_set(finding, OUTCOME_MISSING, "not there: %s", lacking);
	finding_remedy(finding, geteuid() ?
					"use sudo; --datapath user needs none of them" :
					"this root is confined: start the container with these capabilities (docker: "
					"--privileged), or use --datapath user");
}

static void check_memlock(struct finding *finding)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit)) {
		finding_set(finding, OUTCOME_WARNING, "cannot be read: %s", strerror(errno));
	} else if (doctor_capable(CAP_IPC_LOCK) || doctor_capable(CAP_SYS_RESOURCE)) {
		finding_set(finding, OUTCOME_OK, "not limited for this user");
	} else if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= MEMLOCK_WANTED) {
		finding_set(finding, OUTCOME_OK, "large enough");
	} else {
		finding_set(finding, OUTCOME_WARNING, "%llu KiB can be locked, packet memory may need %llu MiB",
			    (unsigned long long)limit.rlim_cur >> 10, MEMLOCK_WANTED >> 20);
		finding_remedy(finding, "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit");
	}
}

static int make_namespaces(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
		       CLONE_NEWCGROUP) ?
		       errno :
		       0;
}

/* What a sandbox is made of (user/sandboxes.h). Without it functions run all the same. */
static void check_namespaces(struct finding *finding)
{
	int ret = doctor_try(make_namespaces);

	if (!ret) {
		finding_set(finding, OUTCOME_OK, "user, mount, pid, ipc, uts, net, cgroup: functions get sandboxes");
		return;
	}
	finding_set(finding, OUTCOME_WARNING,
		    "cannot be made (%s): functions run without sandboxes, and see what any user of the host sees",
		    ret > 0 ? strerror(ret) : "the attempt died");
	if (ret == ENOSPC)
		finding_remedy(finding, "raise /proc/sys/user/max_user_namespaces, which is 0 or used up");
	else
		finding_remedy(finding, "allow unshare(2) in the container's seccomp filter, and boot a kernel with "
					"CONFIG_NAMESPACES=y and its parts");
}

/* A second wall around functions, behind mounts and users. */
static void check_landlock(struct finding *finding)
{
	const char *why;
	int version = wc_landlock_probe(&why);

	if (version)
		finding_set(finding, OUTCOME_OK, "version %d: %s", version, wc_landlock_text(version));
	else
		finding_set(finding, OUTCOME_INFO, "%s; functions do without this second wall", why);
}

struct link_request {
	struct nlmsghdr header;
	struct ifinfomsg info;
	char attributes[256];
};

static struct rtattr *put(struct link_request *request, unsigned short type, const void *data, size_t length)
{
	struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length)
		memcpy(RTA_DATA(attribute), data, length);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
	return attribute;
}

/* A veth pair in a new network namespace, which vanishes with this process. */
static int make_veth(void)
{
	struct link_request request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
			    .nlmsg_type = RTM_NEWLINK,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL },
	};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		char more[512];
	} answer;
	struct rtattr *nest;
	int fd;

	if (unshare(CLONE_NEWNET))
		return errno;
	put(&request, IFLA_IFNAME, "wcdoctor", sizeof("wcdoctor"));
	nest = put(&request, IFLA_LINKINFO, NULL, 0);
	put(&request, IFLA_INFO_KIND, "veth", sizeof("veth") - 1);
	nest->rta_len = (unsigned short)((char *)&request + request.header.nlmsg_len - (char *)nest);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return errno;
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
		return errno;
	if (recv(fd, &answer, sizeof(answer), 0) < (ssize_t)(sizeof(answer.header) + sizeof(int)) ||
	    answer.header.nlmsg_type != NLMSG_ERROR)
		return EBADMSG;
	return -answer.error.error;
}

static void check_veth(struct finding *finding)
{
	int ret = doctor_try(make_veth);

	if (!ret) {
		finding_set(finding, OUTCOME_OK, "a pair can be made");
	} else if (ret == EPERM && !doctor_capable(CAP_SYS_ADMIN)) {
		finding_set(finding, OUTCOME_WARNING, "not checked: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN");
		finding_remedy(finding, "run doctor as root");
	} else if (ret == EOPNOTSUPP) {
		finding_set(finding, OUTCOME_MISSING, "the kernel has no veth interfaces; up without --dev needs them");
		finding_remedy(finding, "modprobe veth, or boot a kernel built with CONFIG_VETH");
	} else {
		finding_set(finding, OUTCOME_MISSING, "a pair cannot be made: %s",
			    ret > 0 ? strerror(ret) : "the attempt died");
		finding_remedy(finding, "attach to an interface with --dev, or use --datapath user");
	}
}

/* Functions are other people's code: none runs without a filter of its system calls. */
static void check_seccomp(struct finding *finding)
{
	unsigned action = SECCOMP_RET_ERRNO;

	if (!syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action)) {
		finding_set(finding, OUTCOME_OK, "functions' system calls can be filtered");
		return;
	}
	finding_set(finding, OUTCOME_MISSING, "system calls cannot be filtered (%s), so no function can be started",
		    strerror(errno));
	finding_remedy(finding, "boot a kernel built with CONFIG_SECCOMP_FILTER");
}

const struct check doctor_rights_checks[] = {
	{ "capabilities", check_capabilities },
	{ "locked memory", check_memlock },
	{ "namespaces", check_namespaces },
	{ "veth", check_veth },
	{ "seccomp", check_seccomp },
	{ "Landlock", check_landlock },
	{ 0 },
};
