/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * icount.c - see icount.h.
 *
 * The timer is channel 0 of the programmable interval timer (an 8254), as a square wave: its output changes twice a period,
 * and the emulator needs a timer for each change. Each rising edge would be an interrupt; the IO-APIC's pin 2, where
 * it arrives, is masked first. Linux has stopped using both once its CPUs have their own timers.
 */
#include "tests/bench/icount.h"

#include "user/first_line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <sys/io.h>

#define IOAPIC_BASE 0xfec00000
#define IOAPIC_INDEX 0	/* registers of 32 bits, as indices into the page */
#define IOAPIC_WINDOW 4 /* 0x10 bytes */
#define IOAPIC_PIN(n) (0x10 + 2 * (n))
#define IOAPIC_MASKED (1u << 16)
#define PIT_PIN 2
#define PIT_COUNTER 0x40
#define PIT_CONTROL 0x43
#define PIT_SQUARE_WAVE 0x36 /* channel 0, low and high byte, mode 3, binary */
#define PIT_ONCE 0x30	     /* mode 0: ends after the count, which is 65,536 if it is 0 */
#define PIT_HZ 1193182ULL
#endif

void icount_machine(char *text, size_t size)
{
	char vendor[64], version[64];

	wc_first_line("/sys/class/dmi/id/sys_vendor", vendor, sizeof(vendor));
	wc_first_line("/sys/class/dmi/id/product_version", version, sizeof(version));
	snprintf(text, size, "%s%s%s", vendor, vendor[0] && version[0] ? " " : "", version);
}

#if defined(__x86_64__) || defined(__i386__)
/* This writes to devices: only where the one who started the machine has made it for that. */
static bool is_allowed(void)
{
	char machine[128], arguments[4096];

	icount_machine(machine, sizeof(machine));
	wc_first_line("/proc/cmdline", arguments, sizeof(arguments));
	return !strncmp(machine, "QEMU ", 5) && strstr(arguments, "hpet=disable") && strstr(arguments, "iomem=relaxed");
}

static int mask_pin(unsigned pin)
{
	int fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	volatile uint32_t *ioapic;

	if (fd < 0)
		return -errno;
	ioapic = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IOAPIC_BASE);
	close(fd);
	if (ioapic == MAP_FAILED)
		return -errno;
	ioapic[IOAPIC_INDEX] = IOAPIC_PIN(pin);
	ioapic[IOAPIC_WINDOW] |= IOAPIC_MASKED;
	munmap((void *)ioapic, 4096);
	return 0;
}

int icount_open(void)
{
	int error;

	if (!is_allowed())
		return -EOPNOTSUPP;
	error = mask_pin(PIT_PIN);
	if (!error && iopl(3))
		error = -errno;
	return error;
}

void icount_set_turns(unsigned us)
{
	uint64_t count = 2 * us * PIT_HZ / 1000000; /* of a whole period, which has two edges */

	outb(us ? PIT_SQUARE_WAVE : PIT_ONCE, PIT_CONTROL);
	outb((unsigned char)count, PIT_COUNTER);
	outb((unsigned char)(count >> 8), PIT_COUNTER);
}
#else
int icount_open(void)
{
	return -EOPNOTSUPP;
}

void icount_set_turns(unsigned us)
{
	(void)us;
}
#endif
