/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * top_terminal.h - the terminal in full-screen mode, and back as it was whatever ends the program.
 *
 * Ends and signals that the caller takes from a signalfd go through terminal_end(), exit() does by itself. Only a crash has a handler:
 * it writes what ncurses would have written, prepared beforehand, and lets the signal do its work. SIGKILL leaves the terminal as
 * it is; reset(1) mends it.
 */
#ifndef WC_TOOLS_TOP_TERMINAL_H
#define WC_TOOLS_TOP_TERMINAL_H

#include <curses.h>
#include <stddef.h>

/* Colour pairs. */
enum {
	TERMINAL_GREEN = 1,
	TERMINAL_YELLOW,
	TERMINAL_RED
};

/* Returns NULL, or a sentence that says why there can be no screen. Once. */
const char *terminal_begin(void);
void terminal_end(void);

/* After SIGWINCH: take the size from the terminal. */
void terminal_fit(void);

/* As much of a text, which printable() let through, as fits line y; blanks to its end. Lines below the screen are left out. */
void terminal_draw(int y, const char *text, size_t length, attr_t attributes);

#endif
