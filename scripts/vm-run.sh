#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# vm-run.sh - run a command as root in a virtual machine that has a kernel with sched_ext; needs no KVM.
#
# The guest sees this machine's files, so what is built here runs there, at the same paths. (Of /tmp, /run and
# /var/lib/warmcore, which are empty there: only the current folder and what the arguments name.) It cannot change them: it
# gets a read-only bind mount of the root file system without what is mounted below it (never / itself, with which the
# host's /proc and /sys would come), and writes into its memory. Needs root, for the mounts; QEMU itself does not.
# scripts/vm-kit.sh fetches QEMU and the kernel, scripts/vm-init.sh is the guest's first process.
#
# With --icount, time is counted in instructions, and two runs of the same thing print the same. All that could differ
# is left out: one thread, an initramfs with only the command instead of the host's files, serial lines instead of virtio
# (whose work runs beside the processors), a fixed clock. All processors share one stream of instructions; each runs
# until the next timer is due (hpet=disable iomem=relaxed let a program shorten that with the PIT).
#
# The kernel's console is kept here, not read in the guest, so that the last words of one that dies are not lost.
#
# QEMU emulates several processors with as many threads, and has races there: now and then a machine meets an assertion of
# QEMU's, or a breakpoint of the kernel's text patching that a processor meets after it is gone. Those are not what is tested
# here, and are told from what is: then it is all done again, twice at most, and said.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
KERNEL=6.18
CPUS=4
MEMORY=1G
LIMIT=300
ICOUNT=
SHIFT=1
MODULES=
WRITE=
ALLOW=()
PACK=() # files for the initramfs
APPEND=
CONSOLE=

usage() {
	cat <<-END
	Usage: scripts/vm-run.sh [OPTION...] -- COMMAND [ARGUMENT...]
	  --kernel VERSION   as for scripts/vm-kit.sh (default $KERNEL)
	  --cpus N           default $CPUS
	  --memory SIZE      default $MEMORY
	  --timeout SECONDS  for all, from the start of QEMU (default $LIMIT); VM_PATIENCE times as long if that is set
	  --modules "NAME..."  load these first; without --icount the kernel finds most by itself
	  --write DIR        what the command writes in there is in there afterwards
	  --allow REGEX      lines of the kernel's log that match are no failure; may be repeated
	  --console FILE     keep the kernel's console
	  --append "ARG..."  more arguments for the kernel
	  --icount           reproducible virtual time; the guest has only the command, its libraries and busybox
	  --shift N          with --icount: an instruction takes 2^N ns (default $SHIFT)
	  --file PATH        with --icount: and this file, with its libraries; may be repeated
	The command's output, also of stderr, comes on stdout; it has no input. It runs in the current folder, with the
	variables PATH, LANG, TEST_* and WARMCORE_* of the environment.
	Exit status: the command's; 124 when time was up; 125 when the VM did not start or died; 126 when the kernel
	complained, whatever the command said; 77 when this machine cannot have the VM; 2 for a wrong option.
	END
}

say() {
	echo "vm-run: $*" >&2
}

ARGV=("$@")
TRY=${VM_RUN_TRY:-1}
unset VM_RUN_TRY

die() {
	say "$@"
	exit 125
}

while [ $# -gt 0 ]; do
	case $1 in
	--kernel) KERNEL=${2:?--kernel needs a version} && shift ;;
	--cpus) CPUS=${2:?--cpus needs a number} && shift ;;
	--memory) MEMORY=${2:?--memory needs a size} && shift ;;
	--timeout) LIMIT=${2:?--timeout needs seconds} && shift ;;
	--modules) MODULES=${2?--modules needs names} && shift ;;
	--write) WRITE=${2:?--write needs a folder} && shift ;;
	--allow) ALLOW+=("${2:?--allow needs a regular expression}") && shift ;;
	--console) CONSOLE=${2:?--console needs a file} && shift ;;
	--append) APPEND=${2?--append needs arguments} && shift ;;
	--icount) ICOUNT=1 ;;
	--shift) SHIFT=${2:?--shift needs a number} && shift ;;
	--file) PACK+=("${2:?--file needs a path}") && shift ;;
	--) shift && break ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
[ $# -gt 0 ] || { usage >&2 && exit 2; }
LIMIT=$((LIMIT * ${VM_PATIENCE:-1}))
if [ -n "$WRITE" ]; then
	[ -d "$WRITE" ] || { say "--write $WRITE: no such folder" && exit 2; }
	[ -z "$ICOUNT" ] || { say "--write and --icount exclude each other: the guest has no files of the host" && exit 2; }
	WRITE=$(realpath "$WRITE")
fi
if [ -z "$ICOUNT" ] && [ "$(id -u)" != 0 ]; then
	echo "SKIP: vm-run needs root, to share this machine's files with the guest so that it cannot change them" >&2
	exit 77
fi

KIT=$("$ROOT/scripts/vm-kit.sh" --kernel "$KERNEL") || exit # it said why
RELEASE=$(cat "$KIT/release")
TOOLS=$(realpath "$KIT/tools")/usr
LIBRARIES=$TOOLS/lib/x86_64-linux-gnu
# With the kit's own dynamic linker; and when this script is killed, the kernel ends what it started.
KIT_RUN=(setpriv --pdeathsig KILL "$LIBRARIES/ld-linux-x86-64.so.2" --library-path "$LIBRARIES")

SCRATCH=$(mktemp -d) || die "cannot make a temporary folder"
CHILDREN=()
# Shellcheck does not see that the trap calls it.
# shellcheck disable=SC2317
cleanup() {
	trap '' INT TERM HUP
	[ ${#CHILDREN[@]} = 0 ] || kill "${CHILDREN[@]}" 2>/dev/null
	wait
	rm -rf "$SCRATCH"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- the initramfs ----------------------------------------------------------------------------------------------------

# For a shell in the guest: 'it'\''s'.
quoted() {
	local word
	for word in "$@"; do
		printf "'%s' " "${word//\'/\'\\\'\'}"
	done
}

command_script() {
	local name
	for name in PATH LANG $(compgen -e | grep -E '^(TEST|WARMCORE)_' | LC_ALL=C sort); do
		[ -z "${!name:-}" ] || [ -n "$ICOUNT" ] || echo "export $name=$(quoted "${!name}")"
	done
	[ -z "$ICOUNT" ] || echo "export PATH=/usr/sbin:/usr/bin:/sbin:/bin"
	echo "export HOME=/root TERM=dumb"
	echo "cd $(quoted "$PWD") || exit 127"
	echo "exec $(quoted "$@")"
}

# The file itself and what the dynamic linker would load, at the same paths.
pack() {
	local file
	for file in "$1" $(ldd "$1" 2>/dev/null | grep -oE '/[^ ]+'); do
		install -D "$file" "$INITRAMFS$file" || die "cannot put $file into the initramfs"
	done
}

# A module and those it needs: a line of modules.dep is "file: file file".
pack_modules() {
	local folder=$KIT/lib/modules/$RELEASE module file
	for module in $MODULES; do
		while read -r file; do
			install -D -m 644 "$folder/$file" "$INITRAMFS/lib/modules/$RELEASE/$file"
		done < <(grep -E "(^|/)${module//[-_]/[-_]}\.ko[^/:]*:" "$folder/modules.dep" | tr -d : | tr ' ' '\n')
	done
	install -D -m 644 "$folder/modules.dep" "$INITRAMFS/lib/modules/$RELEASE/modules.dep"
}

INITRAMFS=$SCRATCH/initramfs
mkdir -p "$INITRAMFS"/{bin,vm,root,lib}
cp "$TOOLS/bin/busybox" "$INITRAMFS/bin/"
cp "$ROOT/scripts/vm-init.sh" "$INITRAMFS/vm/init"
ln -s vm/init "$INITRAMFS/init"
ln -s busybox "$INITRAMFS/bin/sh"
# The guest's /tmp and so on are empty: what the command needs of the host's is put back.
KEEP=()
keep() {
	local path kept
	path=$(realpath "$1")
	for kept in "${KEEP[@]}"; do
		[[ $path/ != "$kept"/* ]] || return 0
	done
	case $path in
	*[[:space:]]*) ;;
	/tmp/?* | /run/?* | /var/lib/warmcore/?*) KEEP+=("$path") ;;
	esac
}
BUILD=${WARMCORE_BUILD:-$ROOT/build}
if [ -z "$ICOUNT" ]; then
	for path in "$ROOT" "$BUILD" "$PWD" "$@"; do
		[[ $path != /* || ! -e $path ]] || keep "$path"
	done
	command_script "$@" >"$INITRAMFS/vm/command"
else
	PROGRAM=$(type -P "$1") || die "$1: no such program"
	PROGRAM=$(realpath "$PROGRAM")
	shift
	mkdir -p "$INITRAMFS$PWD"
	for file in "$PROGRAM" "${PACK[@]}"; do
		[ -r "$file" ] || die "--file $file: cannot read it"
		pack "$(realpath -s "$file")"
	done
	pack_modules
	command_script "$PROGRAM" "$@" >"$INITRAMFS/vm/command"
fi
cat >"$INITRAMFS/vm/settings" <<END
FILES=$([ -n "$ICOUNT" ] || echo host)
KIT=$(quoted "$KIT")
KEEP=$(quoted "${KEEP[*]}")
WRITE=$(quoted "$WRITE")
MODULES=$(quoted "$MODULES")
END
chmod +x "$INITRAMFS/vm/init"
# The same bytes for the same files, whenever and wherever they were made.
find "$INITRAMFS" -exec touch -h -d @0 {} +
(cd "$INITRAMFS" && find . | LC_ALL=C sort |
	"${KIT_RUN[@]}" "$TOOLS/bin/cpio" --create --format=newc --quiet --reproducible --owner=0:0) >"$SCRATCH/initramfs.cpio" ||
	die "cannot make the initramfs in $SCRATCH: is the disk full?"

# --- the host's files -------------------------------------------------------------------------------------------------

# Mount points that are on the way to the folders that the guest needs, outermost first; / is there anyway.
mount_points() {
	local folder point
	while read -r _ _ _ _ point _; do
		point=$(printf %b "$point")
		for folder in "$ROOT" "$BUILD" "$PWD" "$KIT" /usr /etc ${WRITE:+"$WRITE"}; do
			[ "$point" != / ] && [[ $(realpath -m "$folder")/ == "$point"/* ]] && echo "$point"
		done
	done </proc/self/mountinfo | LC_ALL=C sort -u
}

share_files() {
	local points=()
	mapfile -t points < <(mount_points)
	mkdir "$SCRATCH/root"
	# shellcheck disable=SC2016
	unshare --mount --propagation private sh -ec '
		root=$1 write=$2 points=$3
		shift 3
		mount --bind / "$root"
		mount -o remount,bind,ro "$root"
		while [ "$points" -gt 0 ]; do
			mount --bind "$1" "$root$1"
			mount -o remount,bind,ro "$root$1"
			shift
			points=$((points - 1))
		done
		[ -z "$write" ] || mount --bind "$write" "$root$write"
		exec "$@"' sh "$SCRATCH/root" "$WRITE" ${#points[@]} "${points[@]}" \
		"${KIT_RUN[@]}" "$TOOLS/libexec/virtiofsd" --socket-path "$SCRATCH/files.socket" \
		--shared-dir "$SCRATCH/root" --cache always --sandbox chroot --no-announce-submounts --log-level error \
		>"$SCRATCH/virtiofsd.log" 2>&1 </dev/null {OUT}>&- &
	CHILDREN+=($!)
	local tries
	for ((tries = 0; tries < 500; tries++)); do
		[ ! -S "$SCRATCH/files.socket" ] || return 0
		kill -0 "${CHILDREN[-1]}" 2>/dev/null || break
		sleep 0.02
	done
	die "cannot share this machine's files: $(cat "$SCRATCH/virtiofsd.log")"
}

# --- the machine ------------------------------------------------------------------------------------------------------

# A FIFO that is held open here: QEMU's stdio, with its input at the end, would block the guest's output for ever.
mkfifo "$SCRATCH/out"
exec {OUT}<>"$SCRATCH/out"
cat <"$SCRATCH/out" {OUT}>&- &
READER=$!
CHILDREN+=("$READER")

QEMU=("${KIT_RUN[@]}" "$TOOLS/bin/qemu-system-x86_64" -L "$TOOLS/share/qemu" -L "$TOOLS/share/seabios"
	-nodefaults -no-user-config -display none -no-reboot -cpu "max,la57=off" -smp "$CPUS" -m "$MEMORY"
	-kernel "$KIT/vmlinuz" -initrd "$SCRATCH/initramfs.cpio"
	-chardev "file,id=console,path=$SCRATCH/console" -serial chardev:console
	-chardev "file,id=out,path=$SCRATCH/out" -chardev "file,id=status,path=$SCRATCH/status")
# loglevel=5: warnings and worse. An Oops ends the guest, instead of leaving its locks to hang. The self-tests of the kernel's
# cryptography are a fifth of a boot, and would keep a CPU busy for seconds after it, in a thread of the kernel that nothing preempts soon.
ARGUMENTS="rdinit=/init console=ttyS0 quiet loglevel=5 printk.devkmsg=on panic=-1 oops=panic reboot=t mitigations=off
	cryptomgr.notests nokaslr no_timer_check tsc=reliable random.trust_cpu=on"
if [ -n "$ICOUNT" ]; then
	QEMU+=(-machine q35 -accel "tcg,thread=single" -icount "shift=$SHIFT,sleep=off" -rtc "base=2026-01-01T00:00:00,clock=vm"
		-seed 1 -serial chardev:out -serial chardev:status)
	ARGUMENTS+=" norandmaps hpet=disable iomem=relaxed"
else
	share_files
	QEMU+=(-accel "tcg,thread=multi" -object "memory-backend-memfd,id=memory,size=$MEMORY,share=on"
		-machine "q35,memory-backend=memory" -chardev "socket,id=files,path=$SCRATCH/files.socket"
		-device "vhost-user-fs-pci,chardev=files,tag=host" -device virtio-serial-pci
		-device "virtserialport,chardev=out,name=out,nr=1" -device "virtserialport,chardev=status,name=status,nr=2")
fi
ARGUMENTS="${ARGUMENTS//[$'\n\t']/ } $APPEND"

# --foreground: it stays in our process group, which is what a caller kills.
setpriv --pdeathsig KILL timeout --foreground -k 5 "$LIMIT" "${QEMU[@]}" -append "$ARGUMENTS" \
	>"$SCRATCH/qemu.log" 2>&1 </dev/null {OUT}>&- &
CHILDREN+=($!)
wait $!
ended=$?
exec {OUT}>&-
wait "$READER"

# --- what became of it ------------------------------------------------------------------------------------------------

touch "$SCRATCH/console"
tr -d '\r' <"$SCRATCH/console" >"$SCRATCH/console.txt"
if [ -n "$CONSOLE" ]; then
	cp "$SCRATCH/console.txt" "$CONSOLE" || die "cannot write the console to $CONSOLE"
fi

# A scheduler that its owner unloads is "disabled (unregistered from user space)": no complaint.
complaints() {
	local allow
	grep -nE 'WARNING: |BUG: |kernel BUG at|Oops: |KASAN: |UBSAN: |general protection fault|Kernel panic|hard LOCKUP|'\
'rcu: INFO: .*(stall|self-detected)|blocked for more than|refcount_t: |unregister_netdevice: waiting|'\
'sched_ext: .*disabled \(|workqueue lockup' "$SCRATCH/console.txt" |
		grep -v 'disabled (unregistered from user space)' >"$SCRATCH/complaints"
	for allow in "${ALLOW[@]}"; do
		grep -vE -e "$allow" "$SCRATCH/complaints" >"$SCRATCH/complaints.new"
		mv "$SCRATCH/complaints.new" "$SCRATCH/complaints"
	done
	cat "$SCRATCH/complaints"
}

last_words() {
	tail -n 20 "$SCRATCH/console.txt" | sed 's/^/  console | /' >&2
	sed 's/^/  qemu    | /' "$SCRATCH/qemu.log" >&2
}

# Prints what went wrong when it was QEMU that failed. An Oops for int3: the kernel looked for the breakpoint that a processor
# executed among those that it is setting and found none; QEMU had kept the translation of one that was there before. Nobody else sets any.
emulators_fault() {
	if [ -n "$ICOUNT" ]; then
		return # one thread: no races
	elif [[ $FIRST == *"Oops: int3"* ]]; then
		echo "the guest met a breakpoint of the kernel's text patching that was gone"
	elif [ -z "$status$FIRST" ] && { [ "$ended" = 134 ] || [ "$ended" = 139 ]; }; then
		echo "it ended with signal $((ended - 128)): $(grep -v "^[^ ]*/vm-run.sh:" "$SCRATCH/qemu.log" | tail -n 1)"
	fi
}

status=$(tr -cd 0-9 <"$SCRATCH/status" 2>/dev/null)
FIRST=$(complaints | head -n 1)
FAULT=$(emulators_fault)
if [ -n "$FAULT" ] && [ "$TRY" -lt 3 ]; then
	say "QEMU itself failed, all is done again from the start: $FAULT"
	trap - EXIT INT TERM HUP
	kill "${CHILDREN[@]}" 2>/dev/null
	wait
	rm -rf "$SCRATCH"
	VM_RUN_TRY=$((TRY + 1)) exec "$ROOT/scripts/vm-run.sh" "${ARGV[@]}"
fi
if [ -n "$FIRST" ]; then
	say "the kernel $RELEASE complained${status:+, exit status of the command $status} (if that is expected, --allow REGEX):"
	# From the first one on, with what follows it.
	tail -n "+${FIRST%%:*}" "$SCRATCH/console.txt" | head -n 60 | sed 's/^/  console | /' >&2
	exit 126
elif [ -n "$status" ]; then
	exit "$status"
elif [ "$ended" = 124 ] || [ "$ended" = 137 ]; then
	say "time was up: no end after $LIMIT s (--timeout)"
	last_words
	exit 124
fi
say "the VM with kernel $RELEASE ended without an exit status of the command (QEMU's was $ended):"
last_words
exit 125
