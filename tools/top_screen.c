// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * top_screen.c - the screen of `warmcore top`: panes that scroll, and keys.
 *
 * One loop waits for keys, signals (signalfd, so that nothing happens in a handler) and the time of the next frame.
 */
#include <curses.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tools/printable.h"
#include "tools/top.h"
#include "tools/top_terminal.h"
#include "user/clock.h"
#include "user/control_client.h"

#define DELAY_MIN 0.1
#define DELAY_MAX 3600.0
#define KEYS_AT_ONCE 64 /* then the screen is drawn, however fast somebody pastes */

static const char *const pane_names[TOP_PANES] = { "CORES", "FUNCTIONS", "SHARDS" };

struct screen {
	struct cli *cli;
	struct top_order *order;
	struct wc_view *view; /* NULL: the node is gone */
	struct top_sample *samples[2];
	int now; /* which of them is shown */
	bool sampled[2];
	struct top_frame frame;
	bool framed; /* there is something to show */
	double seconds;
	long long left;		   /* frames until the end, -1: no end */
	uint64_t next_ns;	   /* of the next frame */
	bool paused, help, typing; /* typing: keys go into the filter */
	bool over;
	enum top_pane pane;
	size_t first[TOP_PANES]; /* row at the top of each */
	int heights[TOP_PANES];	 /* rows that were shown */
	char filter_before[TOP_FILTER_MAX];
	char message[160];
};

/* --- drawing --- */

/* Lines [0, height) of a text. */
static int draw_text(int y, const char *text, int height, attr_t first, attr_t others)
{
	int drawn = 0;

	while (*text && drawn < height) {
		size_t length = strcspn(text, "\n");

		terminal_draw(y + drawn, text, length, drawn ? others : first);
		drawn++;
		text += length + (text[length] == '\n');
	}
	return drawn;
}

static void draw_head(struct screen *screen, int *y)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	attr_t first = A_BOLD;

	if (!out)
		return;
	if (screen->framed)
		top_head_print(&screen->frame, screen->cli->node, out);
	fclose(out);
	if (!screen->view || (screen->framed && !screen->frame.now->daemon))
		first |= COLOR_PAIR(TERMINAL_RED);
	if (screen->view)
		*y += draw_text(*y, text, LINES - *y, first, A_NORMAL);
	else
		*y += draw_text(*y, screen->message, LINES - *y, first, A_NORMAL);
	free(text);
}

/* Title, column titles, rows. */
static void draw_pane(struct screen *screen, enum top_pane pane, int *y, int height)
{
	const struct top_frame *frame = &screen->frame;
	size_t rows = frame->rows[pane], shown = height > 2 ? (size_t)height - 2 : 0, size;
	attr_t title = screen->pane == pane ? A_REVERSE | A_BOLD : A_BOLD;
	char line[256], *text = NULL;
	FILE *out;

	if (screen->first[pane] + shown > rows)
		screen->first[pane] = rows > shown ? rows - shown : 0;
	screen->heights[pane] = (int)shown;
	if (height < 1)
		return;
	snprintf(line, sizeof(line), "%s %zu to %zu of %zu%s  by %s%s", pane_names[pane],
		 rows ? screen->first[pane] + 1 : 0,
		 screen->first[pane] + shown < rows ? screen->first[pane] + shown : rows, rows,
		 rows < frame->total[pane] ? " (filtered)" : "", screen->order->sort[pane] ?: top_keys(pane)[0],
		 screen->order->reverse[pane] ? ", reversed" : "");
	terminal_draw((*y)++, line, strlen(line), title);
	out = height > 1 ? open_memstream(&text, &size) : NULL;
	if (!out)
		return;
	top_table_print(frame, pane, screen->first[pane], shown, out);
	fclose(out);
	*y += draw_text(*y, text, height - 1, A_UNDERLINE, A_NORMAL);
	free(text);
}

/* Who gets how many lines: shards what they need up to a quarter, the pane that is looked at more than the other. */
static void share_lines(const struct screen *screen, int lines, int heights[TOP_PANES])
{
	static const enum top_pane others[] = { TOP_CORES, TOP_FUNCTIONS };
	int need[TOP_PANES], left;

	for (int pane = 0; pane < TOP_PANES; pane++)
		need[pane] = screen->frame.total[pane] < 4096 ? (int)screen->frame.total[pane] + 2 : 4098;
	memset(heights, 0, TOP_PANES * sizeof(*heights));
	if (lines < 12) { /* no room for more than one */
		heights[screen->pane] = lines > 0 ? lines : 0;
		return;
	}
	left = screen->pane == TOP_SHARDS ? lines / 2 : lines / 4;
	heights[TOP_SHARDS] = need[TOP_SHARDS] < left ? need[TOP_SHARDS] : left < 3 ? 3 : left;
	left = lines - heights[TOP_SHARDS];
	for (size_t i = 0; i < 2; i++) {
		enum top_pane one = others[i], other = others[1 - i];
		int half = left / 2, spare = need[other] < half ? half - need[other] : 0;

		heights[one] = need[one] < half + spare ? need[one] : half + spare;
	}
	/* The odd line, and what nobody needs. */
	heights[TOP_FUNCTIONS] = left - heights[TOP_CORES];
}

static void draw_help(int y)
{
	static const char *const lines[] = {
		"q            end                         Tab          next pane",
		"Up Down      scroll by a row             PgUp PgDn    by a page",
		"Home End     to the first, last row      < >          sort by another column",
		"r            turn the order round        /            filter by name (Escape: all)",
		"Space        a frame now                 p            pause",
		"+ -          longer, shorter delay       h ?          this help",
		"",
		"busy       part of the time that invocations ran there, starts of instances included",
		"wait       mean, from arrival or pick-up until the function was started",
		"load       cores' worth of time; cpu: CPUs' worth by sched_ext, - without it",
		"warm on    cores with an idle instance. All from the BPF maps: the daemon is not asked.",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		terminal_draw(y + (int)i, lines[i], strlen(lines[i]), A_NORMAL);
}

static void draw_foot(const struct screen *screen)
{
	char line[256], filter[TOP_FILTER_MAX];

	printable(screen->order->filter, sizeof(screen->order->filter), filter, sizeof(filter));
	if (screen->typing)
		snprintf(line, sizeof(line), "filter: %s_  (Enter keeps it, Escape does not)", filter);
	else
		snprintf(line, sizeof(line), "%s%s%s%severy %.1f s  q end  h help  Tab pane  </> sort  / filter",
			 screen->paused ? "PAUSED  " : "", *filter ? "filter: " : "", filter, *filter ? "  " : "",
			 screen->seconds);
	terminal_draw(LINES - 1, line, strlen(line), A_REVERSE);
}

static void draw(struct screen *screen)
{
	static const enum top_pane panes[] = { TOP_SHARDS, TOP_CORES, TOP_FUNCTIONS };
	int heights[TOP_PANES], y = 0;

	erase();
	draw_head(screen, &y);
	if (screen->help) {
		draw_help(y + 1);
	} else if (screen->framed) {
		share_lines(screen, LINES - 1 - y, heights);
		for (size_t p = 0; p < sizeof(panes) / sizeof(panes[0]); p++) {
			int end = y + heights[panes[p]];

			draw_pane(screen, panes[p], &y, heights[panes[p]]);
			y = heights[panes[p]] ? end : y;
		}
	}
	if (LINES > 1 || !screen->framed)
		draw_foot(screen);
	refresh();
}

/* --- frames --- */

static void forget_view(struct screen *screen)
{
	wc_view_close(screen->view);
	top_sample_free(screen->samples[0]);
	top_sample_free(screen->samples[1]);
	screen->view = NULL;
	screen->samples[0] = screen->samples[1] = NULL;
	screen->sampled[0] = screen->sampled[1] = screen->framed = false;
}

static void make_frame(struct screen *screen)
{
	const struct top_sample *before = screen->sampled[1 - screen->now] ? screen->samples[1 - screen->now] : NULL;

	top_frame_make(&screen->frame, before, screen->samples[screen->now], screen->order);
	screen->framed = true;
}

/* A node that has gone down may come up again: look for it each time. */
static void take_frame(struct screen *screen)
{
	struct wc_fault fault;

	if (screen->view && !wc_view_is_current(screen->view))
		forget_view(screen);
	if (!screen->view) {
		if (wc_view_open(&screen->view, screen->cli->node, &fault)) {
			snprintf(screen->message, sizeof(screen->message), "node %s is down; waiting for it",
				 screen->cli->node);
			return;
		}
		screen->samples[0] = top_sample_new(screen->view);
		screen->samples[1] = top_sample_new(screen->view);
	}
	screen->now = 1 - screen->now;
	top_sample_take(screen->samples[screen->now], screen->view, screen->cli->node);
	screen->sampled[screen->now] = true;
	make_frame(screen);
	if (screen->left > 0 && !--screen->left)
		screen->over = true;
}

/* --- keys --- */

static void scroll_pane(struct screen *screen, long long rows)
{
	size_t *first = &screen->first[screen->pane];

	if (rows < 0)
		*first = *first > (size_t)-rows ? *first - (size_t)-rows : 0;
	else if (screen->framed) /* draw_pane() keeps it within what there is */
		*first = *first + (size_t)rows < screen->frame.rows[screen->pane] ? *first + (size_t)rows :
										    screen->frame.rows[screen->pane];
}

static void change_sort(struct screen *screen, int step)
{
	const char *const *keys = top_keys(screen->pane);
	const char *now = screen->order->sort[screen->pane] ?: keys[0];
	int count = 0, at = 0;

	do { /* each pane has one at least */
		if (!strcmp(keys[count], now))
			at = count;
	} while (keys[++count]);
	screen->order->sort[screen->pane] = keys[(at + step + count) % count];
}

static void type_filter(struct screen *screen, int key)
{
	char *filter = screen->order->filter;
	size_t length = strlen(filter);

	if (key == '\r' || key == '\n' || key == KEY_ENTER) {
		screen->typing = false;
	} else if (key == 27) {
		snprintf(filter, TOP_FILTER_MAX, "%s", screen->filter_before);
		screen->typing = false;
	} else if (key == KEY_BACKSPACE || key == 127 || key == 8) {
		while (length && ((unsigned char)filter[--length] & 0xc0) == 0x80)
			;
		filter[length] = 0;
	} else if (key >= 0x20 && key < 0x100 && length + 1 < TOP_FILTER_MAX) {
		filter[length] = (char)key;
		filter[length + 1] = 0;
	}
}

static void change_delay(struct screen *screen, double factor)
{
	double seconds = screen->seconds * factor;

	screen->seconds = seconds < DELAY_MIN ? DELAY_MIN : seconds > DELAY_MAX ? DELAY_MAX : seconds;
	screen->next_ns = wc_now() + (uint64_t)(screen->seconds * 1e9);
}

static void press(struct screen *screen, int key)
{
	int page = screen->heights[screen->pane] > 1 ? screen->heights[screen->pane] - 1 : 1;

	if (screen->typing) {
		type_filter(screen, key);
	} else if (screen->help) { /* whatever it is */
		screen->help = false;
		screen->over = key == 'q';
	} else {
		switch (key) {
		case 'q':
		case 'Q':
			screen->over = true;
			break;
		case 'h':
		case '?':
			screen->help = true;
			break;
		case '\t':
			screen->pane = (screen->pane + 1) % TOP_PANES;
			break;
		case KEY_BTAB:
			screen->pane = (screen->pane + TOP_PANES - 1) % TOP_PANES;
			break;
		case KEY_UP:
		case 'k':
			scroll_pane(screen, -1);
			break;
		case KEY_DOWN:
		case 'j':
			scroll_pane(screen, 1);
			break;
		case KEY_PPAGE:
			scroll_pane(screen, -page);
			break;
		case KEY_NPAGE:
			scroll_pane(screen, page);
			break;
		case KEY_HOME:
		case 'g':
			screen->first[screen->pane] = 0;
			break;
		case KEY_END:
		case 'G':
			scroll_pane(screen, 1 << 20);
			break;
		case '<':
			change_sort(screen, -1);
			break;
		case '>':
			change_sort(screen, 1);
			break;
		case 'r':
			screen->order->reverse[screen->pane] = !screen->order->reverse[screen->pane];
			break;
		case '/':
			screen->typing = true;
			memcpy(screen->filter_before, screen->order->filter, sizeof(screen->filter_before));
			screen->order->filter[0] = 0;
			break;
		case 27:
			screen->order->filter[0] = 0;
			break;
		case ' ':
			screen->next_ns = 0;
			break;
		case 'p':
			screen->paused = !screen->paused;
			screen->next_ns = 0;
			break;
		case '+':
			change_delay(screen, 2);
			break;
		case '-':
			change_delay(screen, 0.5);
			break;
		case 12: /* Ctrl-L */
			clearok(curscr, TRUE);
			break;
		default:
			return;
		}
	}
	if (screen->framed)
		make_frame(screen);
}

/* --- the loop --- */

/* Signals that are waiting. Returns false when one of them ends the program: *ret_number. */
static bool take_signals(int fd, int *ret_number)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			terminal_fit();
		} else if (info.ssi_signo == SIGTSTP) {
			endwin();
			raise(SIGSTOP);
			/* on we go, perhaps with another size */
			refresh();
			terminal_fit();
		} else {
			*ret_number = (int)info.ssi_signo;
			return false;
		}
	}
	return true;
}

static int loop(struct screen *screen, int signals)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
	int number = 0;

	while (!screen->over) {
		uint64_t now = wc_now();
		int wait_ms = -1;

		if (!screen->paused && now >= screen->next_ns) {
			take_frame(screen);
			screen->next_ns = wc_now() + (uint64_t)(screen->seconds * 1e9);
		}
		draw(screen);
		if (screen->over)
			break;
		if (!screen->paused)
			wait_ms = (int)((screen->next_ns > now ? screen->next_ns - now : 0) / WC_MS) + 1;
		if (poll(fds, 2, wait_ms) < 0 && errno != EINTR)
			return 0;
		if (fds[1].revents && !take_signals(signals, &number))
			return number;
		for (int i = 0, key; i < KEYS_AT_ONCE && (key = getch()) != ERR; i++)
			press(screen, key);
		if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) /* nobody is there any more */
			return SIGHUP;
	}
	return 0;
}

int top_screen_run(struct cli *cli, struct top_order *order, double seconds, long long count)
{
	static const int handled[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP };
	struct screen screen = {
		.cli = cli, .order = order, .seconds = seconds, .left = count ?: -1, .pane = TOP_FUNCTIONS
	};
	struct wc_fault fault;
	const char *error;
	int signals, number;
	sigset_t set;

	if (wc_view_open(&screen.view, cli->node, &fault))
		return cli_fail(cli, "%s", fault.text);
	screen.samples[0] = top_sample_new(screen.view);
	screen.samples[1] = top_sample_new(screen.view);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]); i++)
		sigaddset(&set, handled[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	error = signals < 0 ? strerror(errno) : terminal_begin();
	if (error)
		return cli_fail(cli, "%s", error);
	number = loop(&screen, signals);
	terminal_end();
	top_frame_free(&screen.frame);
	forget_view(&screen);
	if (number) { /* end of it, so that whoever waits for us sees why */
		signal(number, SIG_DFL);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		raise(number);
	}
	return CLI_OK;
}
