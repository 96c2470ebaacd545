/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * knobs.h - the knobs of a program. One table has them all: the command line, the configuration file, --help, `warmcore config` and the
 * documentation are made from it, so that a knob is the same everywhere: one name, one check.
 *
 * What was given is collected first, the line and then the file, and then put into the program's options, so that the line wins.
 * docs/CONFIG.md has the file's format, and why it is YAML.
 */
#ifndef WC_KNOBS_H
#define WC_KNOBS_H

#include "user/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WC_KNOBS_GIVEN_MAX 256u	      /* values, of line and file together */
#define WC_KNOBS_FILE_MAX (64u << 10) /* bytes of a file */
#define WC_KNOBS_VALUE_MAX 4096u      /* bytes of a value in it */
#define WC_KNOBS_FOLDER "/etc/warmcore"
#define WC_KNOBS_NO_FILE "none" /* --config: read no file */

enum wc_knob_kind {
	WC_KNOB_FLAG,	 /* bool; takes no value on the line, on or off in the file */
	WC_KNOB_TEXT,	 /* char[size] */
	WC_KNOB_POINTER, /* const char *: stays where it was given */
	WC_KNOB_NUMBER,	 /* uint16_t or uint32_t */
	WC_KNOB_CHOICE,	 /* int, or bool of "off" and "on": the index */
	WC_KNOB_OWN,	 /* by `parse`, which is called once a value */
};

enum wc_knob_when {
	WC_KNOB_AT_START, /* another value needs a restart */
	WC_KNOB_LIVE,	  /* a reload changes it */
	WC_KNOB_LINE,	  /* on the command line only */
};

struct wc_knob {
	const char *name; /* of the option, without dashes, and of the key */
	enum wc_knob_kind kind;
	enum wc_knob_when when;
	size_t offset, size; /* of the field */
	uint64_t min, max;
	const char *const *choices; /* NULL-terminated */
	const char *argument;	    /* what --help calls the value; NULL: a flag */
	const char *fallback; /* the default, for people, where it is no fixed text; NULL: none, or what the field has */
	bool list;	      /* may be given repeatedly */
	int (*parse)(void *options, const char *value, struct wc_fault *fault);
	const char *help;
};

struct wc_knobs {
	const char *program;
	const char *file; /* name of the usual file in WC_KNOBS_FOLDER, with one %s for the node's */
	const struct wc_knob *table;
	size_t count;
};

/* One value. */
struct wc_given {
	uint32_t knob; /* index in the table */
	uint32_t line; /* of the file; 0: the command line */
	const char *text;
};

struct wc_knobs_given {
	struct wc_given list[WC_KNOBS_GIVEN_MAX];
	uint32_t count;
	char path[256]; /* of the file that was read; empty: none was */
	char *texts;	/* what the values of the file point into */
};

/*
 * Read the command line. 0; 1: --help was served by print_help(), or --version; negative errno and a sentence. The values point into argv.
 * *given is begun anew: wc_knobs_release() it afterwards, in any case.
 */
int wc_knobs_line(const struct wc_knobs *knobs, int argc, char **argv, void (*print_help)(void),
		  struct wc_knobs_given *given, struct wc_fault *fault);

/*
 * Read the file that --config names, or, if it does not, the usual one of `node` when it is there. Errors have the file and the line. The file
 * must be a regular one of at most WC_KNOBS_FILE_MAX bytes that belongs to root or to this user, and nobody else may write to.
 */
int wc_knobs_file(const struct wc_knobs *knobs, const char *node, struct wc_knobs_given *given, struct wc_fault *fault);

/* The same from memory; `path` is for sentences. Does not change `text`. */
int wc_knobs_text(const struct wc_knobs *knobs, const char *path, const char *text, size_t length,
		  struct wc_knobs_given *given, struct wc_fault *fault);

/* The whole file in memory, which the caller frees, after the checks of wc_knobs_file(). -ENOENT: there is none. */
int wc_knobs_load(const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault);
/* The same from a descriptor, which stays open. */
int wc_knobs_load_fd(int fd, const char *path, char **ret_text, size_t *ret_length, struct wc_fault *fault);

/* Put what was given into the options: what the line has is not taken from the file. `options` has its defaults before. */
int wc_knobs_apply(const struct wc_knobs *knobs, const struct wc_knobs_given *given, void *options,
		   struct wc_fault *fault);

/* Put one value into its field. */
int wc_knob_set(const struct wc_knob *knob, void *options, const char *value, struct wc_fault *fault);

void wc_knobs_release(struct wc_knobs_given *given);

/* The knob of this name, `length` bytes; NULL: there is none. */
const struct wc_knob *wc_knob_find(const struct wc_knobs *knobs, const char *name, size_t length);
/* Whether there is one value or more of it, and the text of the last that counts, else NULL. */
const char *wc_knob_given(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const char *name);

/* --- knobs_print.c --- */

/* What --print takes, and its names. */
enum wc_knobs_print {
	WC_KNOBS_PRINT_NOTHING,
	WC_KNOBS_PRINT_CHECK,	/* a line when all is well */
	WC_KNOBS_PRINT_SHOW,	/* JSON: each value, and where it comes from */
	WC_KNOBS_PRINT_EXAMPLE, /* a file with each knob, commented out */
	WC_KNOBS_PRINT_TABLE,	/* a table in Markdown */
};
extern const char *const wc_knobs_print_names[];

/* `options` are in force. 0, or a negative errno when standard output failed. */
int wc_knobs_print(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const void *options,
		   enum wc_knobs_print what);

/* The options of --help, as lines. */
void wc_knobs_help(const struct wc_knobs *knobs);

/* The same as WC_KNOBS_PRINT_SHOW: a json_t, a new reference. */
void *wc_knobs_json(const struct wc_knobs *knobs, const struct wc_knobs_given *given, const void *options);

/* Is the value of this knob the same in both? For WC_KNOB_OWN by what was given. */
bool wc_knob_same(const struct wc_knobs *knobs, const struct wc_knob *knob, const struct wc_knobs_given *given_a,
		  const void *a, const struct wc_knobs_given *given_b, const void *b);

#endif
