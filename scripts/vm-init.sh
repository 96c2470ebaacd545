#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# vm-init.sh - the first process of a test VM; busybox runs it. scripts/vm-run.sh packs it into the initramfs, with
# /vm/settings (what it wants, as shell variables), /vm/command (a script) and busybox.
#
# Without FILES=host the command runs in the initramfs itself. With it, the root file system is an overlay: below, what
# the host shares (which it keeps read-only), above, the guest's memory. So everything can be written in the guest, and
# nothing of it reaches the host but what is in WRITE. It runs twice then: the second time from the new root.
# shellcheck shell=dash
set -u

fail() {
	echo "vm-init: $*" >/dev/kmsg
	busybox reboot -f
}

# mount_all ROOT: what a running system has.
mount_all() {
	mount -t proc proc "$1/proc"
	mount -t sysfs sysfs "$1/sys"
	mount -t devtmpfs devtmpfs "$1/dev"
	mkdir -p "$1/dev/pts" "$1/dev/shm"
	ln -s /proc/self/fd "$1/dev/fd"
	ln -s fd/0 "$1/dev/stdin"
	ln -s fd/1 "$1/dev/stdout"
	ln -s fd/2 "$1/dev/stderr"
	mount -t devpts -o mode=620,ptmxmode=666 devpts "$1/dev/pts"
	mount -t bpf bpf "$1/sys/fs/bpf"
	mount -t tracefs tracefs "$1/sys/kernel/tracing"
	mount -t debugfs debugfs "$1/sys/kernel/debug"
	mount -t cgroup2 cgroup2 "$1/sys/fs/cgroup"
	sed -e 's/^/+/' -e 's/ / +/g' "$1/sys/fs/cgroup/cgroup.controllers" >"$1/sys/fs/cgroup/cgroup.subtree_control"
	mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
}

# make_like OLD NEW: a file or folder to mount the other on.
make_like() {
	if [ -d "$1" ]; then
		mkdir -p "$2"
	else
		mkdir -p "${2%/*}"
		: >>"$2"
	fi
}

# KEEP: files and folders of the host that the new and empty /tmp and so on would hide.
enter_host_files() {
	local kept=0 modules path
	modules=/lib/modules/$(uname -r)
	mkdir -p /host /over /new /kept "$modules"
	mount -t virtiofs host /host || fail "cannot mount the host's files"
	mount --bind "/host$KIT$modules" "$modules" || fail "cannot see the kit's modules"
	modprobe overlay || fail "cannot load the module overlay"
	mount -t tmpfs tmpfs /over
	mkdir /over/upper /over/work
	mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /new ||
		fail "cannot mount the overlay"
	for path in $KEEP; do
		kept=$((kept + 1))
		make_like "/new$path" "/kept/$kept"
		mount --bind "/new$path" "/kept/$kept"
	done
	for path in /run /tmp /var/lib/warmcore; do
		mkdir -p "/new$path"
		mount -t tmpfs -o mode=755 tmpfs "/new$path"
	done
	chmod 1777 /new/tmp
	mount_all /new
	kept=0
	for path in $KEEP; do
		kept=$((kept + 1))
		make_like "/kept/$kept" "/new$path"
		mount --move "/kept/$kept" "/new$path"
	done
	if [ -n "$WRITE" ]; then
		mkdir -p "/new$WRITE"
		mount --bind "/host$WRITE" "/new$WRITE" || fail "cannot mount $WRITE"
	fi
	mkdir -p "/new$modules"
	mount --bind "$modules" "/new$modules"
	mkdir /new/run/vm
	cp /bin/busybox /vm/* /new/run/vm/
	ln -s busybox /new/run/vm/modprobe
	umount /proc # the new root has its own
	exec switch_root /new /run/vm/busybox sh /run/vm/init entered
}

# The ports to the host: of virtio, or serial lines where output must take a reproducible time.
find_ports() {
	local port
	OUT=/dev/ttyS1 STATUS=/dev/ttyS2
	for port in /sys/class/virtio-ports/*; do
		case $(busybox cat "$port/name" 2>/dev/null) in
		out) OUT=/dev/${port##*/} ;;
		status) STATUS=/dev/${port##*/} ;;
		esac
	done
	[ "$OUT" != /dev/ttyS1 ] || for port in "$OUT" "$STATUS"; do
		busybox stty -F "$port" raw -echo 115200
	done
}

if [ "${1:-}" != entered ]; then
	export PATH=/bin
	/bin/busybox --install -s /bin
	VM=/vm
	mkdir -p /proc /sys /dev
	mount -t proc proc /proc
	# shellcheck source=/dev/null
	. /vm/settings
	if [ "$FILES" = host ]; then
		enter_host_files
	fi
	umount /proc
	mount_all ""
else
	VM=/run/vm
	# shellcheck source=/dev/null
	. $VM/settings
	export PATH=$VM
	# The kernel asks for modules itself when a link or a queueing discipline of that type is made.
	echo $VM/modprobe >/proc/sys/kernel/modprobe
fi
find_ports
busybox ip link set lo up
busybox hostname vm
ulimit -l unlimited
ulimit -n 65536
# shellcheck disable=SC2153
for module in $MODULES; do
	busybox modprobe "$module" || fail "cannot load the module $module"
done
echo "vm-init: start" >/dev/kmsg
busybox setsid busybox sh "$VM/command" >"$OUT" 2>&1 </dev/null
status=$?
echo "vm-init: end" >/dev/kmsg
echo $status >"$STATUS"
busybox reboot -f
