// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* top_terminal.c - see top_terminal.h. */
#include <curses.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/top_terminal.h"

#define LINE_MAX_CHARS 1024 /* wide characters of one line that can be shown */

static struct termios termios_before;
static char leave[256]; /* what puts the screen back */
static size_t leave_length;

static int keep_byte(int c)
{
	if (leave_length < sizeof(leave))
		leave[leave_length++] = (char)c;
	return c;
}

static void crash(int number)
{
	ssize_t ignored = write(STDOUT_FILENO, leave, leave_length);

	(void)ignored;
	tcsetattr(STDIN_FILENO, TCSANOW, &termios_before);
	raise(number); /* SA_RESETHAND: now as if nobody had caught it */
}

void terminal_end(void)
{
	if (!isendwin())
		endwin();
}

const char *terminal_begin(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	static const char *const undo[] = { "sgr0", "rmkx", "cnorm", "rmcup" };
	struct sigaction action = { .sa_handler = crash, .sa_flags = (int)SA_RESETHAND };

	tcgetattr(STDIN_FILENO, &termios_before);
	if (!newterm(NULL, stdout, stdin))
		return "the terminal is not known to this system: set TERM, or use --plain";
	for (size_t i = 0; i < sizeof(undo) / sizeof(undo[0]); i++) {
		const char *sequence = tigetstr(undo[i]);

		if (sequence && sequence != (char *)-1)
			tputs(sequence, 1, keep_byte);
	}
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &action, NULL);
	atexit(terminal_end);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	if (has_colors() && !getenv("NO_COLOR")) {
		start_color();
		use_default_colors();
		init_pair(TERMINAL_GREEN, COLOR_GREEN, -1);
		init_pair(TERMINAL_YELLOW, COLOR_YELLOW, -1);
		init_pair(TERMINAL_RED, COLOR_RED, -1);
	}
	return NULL;
}

void terminal_fit(void)
{
	struct winsize size;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row && size.ws_col)
		resizeterm(size.ws_row, size.ws_col);
	clear();
}

void terminal_draw(int y, const char *text, size_t length, attr_t attributes)
{
	wchar_t wide[LINE_MAX_CHARS];
	mbstate_t state = { 0 };
	int count = 0, column = 0;

	if (y >= LINES)
		return;
	for (size_t i = 0; i < length && count < LINE_MAX_CHARS;) {
		wchar_t c;
		size_t n = mbrtowc(&c, text + i, length - i, &state);
		int width;

		if (n == (size_t)-1 || n == (size_t)-2 || !n)
			break;
		i += n;
		width = wcwidth(c);
		if (width < 0 || column + width > COLS)
			break;
		wide[count++] = c;
		column += width;
	}
	attrset(attributes);
	move(y, 0);
	addnwstr(wide, count);
	/* Not into the last place of the screen by a blank: some terminals would scroll. */
	attrset(attributes & A_REVERSE);
	for (; column < COLS && !(y == LINES - 1 && column == COLS - 1); column++)
		addch(' ');
	attrset(0);
}
