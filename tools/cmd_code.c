// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_code.c - `warmcore code`: what was deployed, as a zip archive or a folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/qualifier.h"
#include "user/control_client.h"
#include "user/package.h"
#include "user/store.h"
#include "user/tree.h"

#define CODE_TIMEOUT_MS 120000u
#define CHUNK (256 << 10)

static struct code_options {
	const char *output, *folder;
	bool force;
} options;

#define AT(member) .offset = offsetof(struct code_options, member)

static const struct option_spec specs[] = {
	{ .name = "output",
	  .letter = 'o',
	  .type = OPTION_STRING,
	  AT(output),
	  .metavar = "FILE",
	  .help = "Where the zip archive goes; NAME.zip in this folder unless given. -: standard output." },
	{ .name = "folder",
	  .letter = 'd',
	  .type = OPTION_STRING,
	  AT(folder),
	  .metavar = "FOLDER",
	  .help = "Unpack into this folder instead, which is made, or is there and empty." },
	{ .name = "force", .letter = 'f', .type = OPTION_FLAG, AT(force), .help = "Replace the FILE, if there is one." },
	{ 0 },
};

static int cannot_write(const struct cli *cli, const char *path, int error)
{
	return cli_fail(cli, "cannot write %s: %s%s", path, strerror(error),
			error == ENOSPC || error == EDQUOT ? "; make room, or name a FILE on another disk" : "");
}

/* Reads at its own place: others have the same descriptor. 0 or a positive errno; *ret_reading: it was not the writing. */
static int copy(int from, int to, bool *ret_reading)
{
	char *chunk = malloc(CHUNK);
	int error = chunk ? 0 : ENOMEM;
	off_t at = 0;
	ssize_t n;

	*ret_reading = !chunk;
	while (!error && (n = pread(from, chunk, CHUNK, at))) {
		if (n < 0) {
			*ret_reading = true;
			error = errno;
			break;
		}
		at += n;
		for (ssize_t done = 0; !error && done < n;) {
			ssize_t written = write(to, chunk + done, (size_t)(n - done));

			if (written < 0 && errno != EINTR)
				error = errno;
			done += written > 0 ? written : 0;
		}
	}
	free(chunk);
	return error;
}

static int write_to(const struct cli *cli, int archive, int fd, const char *path)
{
	bool reading;
	int error = copy(archive, fd, &reading);

	if (!error)
		return CLI_OK;
	return reading ? cli_fail(cli, "cannot read the archive that the node made: %s", strerror(error)) :
			 cannot_write(cli, path, error);
}

/* --- a file --- */

/* Said before the node packs anything; that it is so when the file gets its name is another matter. */
static int check_file(const struct cli *cli, const char *path)
{
	struct stat status;

	if (lstat(path, &status))
		return errno == ENOENT ? CLI_OK : cli_fail(cli, "%s: %s", path, strerror(errno));
	if (!S_ISREG(status.st_mode))
		return cli_fail(cli, "%s is there, and is not a file; give -o FILE another name", path);
	return options.force ? CLI_OK : cli_fail(cli, "%s is there already; --force replaces it", path);
}

/* Not every file system can do it in one step. */
static int rename_to_new(const char *from, const char *to)
{
	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (link(from, to))
		return -errno;
	unlink(from);
	return 0;
}

/* The name stands for the old file or all of the new one. */
static int write_file(const struct cli *cli, int archive, const char *path)
{
	char fresh[2048];
	int fd, error, ret;

	if (snprintf(fresh, sizeof(fresh), "%s.XXXXXX", path) >= (int)sizeof(fresh))
		return cli_fail(cli, "%.60s...: the name is too long", path);
	fd = mkostemp(fresh, O_CLOEXEC); /* 0600: on the node, too, only the function can read it */
	if (fd < 0)
		return cli_fail(cli, "cannot create %s: %s", path, strerror(errno));
	ret = write_to(cli, archive, fd, path);
	if (close(fd) && !ret)
		ret = cannot_write(cli, path, errno);
	if (!ret) {
		error = options.force ? rename(fresh, path) ? -errno : 0 : rename_to_new(fresh, path);
		if (error == -EEXIST)
			ret = cli_fail(cli, "%s is there now; --force replaces it", path);
		else if (error)
			ret = cli_fail(cli, "cannot create %s: %s", path, strerror(-error));
	}
	if (ret)
		unlink(fresh);
	return ret;
}

/* --- a folder --- */

static int check_folder(const struct cli *cli, const char *path)
{
	const struct dirent *entry;
	bool empty = true;
	DIR *folder = opendir(path);

	if (!folder)
		return errno == ENOENT ? CLI_OK : cli_fail(cli, "%s: %s", path, strerror(errno));
	while (empty && (entry = readdir(folder)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	closedir(folder);
	return empty ? CLI_OK : cli_fail(cli, "%s is not empty; name a folder that is, or that is not there", path);
}

/* What was there is there again: nothing. */
static void clear(const char *path, bool made)
{
	DIR *folder = made ? NULL : opendir(path);
	const struct dirent *entry;
	char below[2048];

	if (made)
		wc_tree_remove(path);
	while (folder && (entry = readdir(folder)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) < (int)sizeof(below))
			wc_tree_remove(below);
	if (folder)
		closedir(folder);
}

static int unpack(const struct cli *cli, int archive, const char *path)
{
	bool made = !mkdir(path, 0700);
	struct wc_fault fault;
	int fd, ret;

	if (!made && errno != EEXIST)
		return cli_fail(cli, "cannot create %s: %s", path, strerror(errno));
	ret = made ? CLI_OK : check_folder(cli, path);
	if (ret)
		return ret;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	if (wc_package_extract(&(struct wc_archive){ .fd = archive }, fd, WC_SOURCE_BYTES_MAX, WC_SOURCE_FILES_MAX,
			       &fault)) {
		clear(path, made);
		ret = cli_fail(cli, "%s: %s", path, fault.text);
	}
	close(fd);
	return ret;
}

/* --- the command --- */

static int check_options(const struct cli *cli)
{
	bool standard = options.output && !strcmp(options.output, "-");

	if (options.output && options.folder)
		return cli_usage(cli, "--output and --folder exclude each other");
	if (options.folder && options.force)
		return cli_usage(cli, "--force is for a FILE; a folder that has something in it is never changed");
	if ((options.output && !*options.output) || (options.folder && !*options.folder))
		return cli_usage(cli, "the name of the %s is empty", options.folder ? "folder" : "file");
	if (standard && cli->json)
		return cli_usage(cli, "--json and --output - both want standard output");
	if (standard && isatty(STDOUT_FILENO))
		return cli_fail(cli, "standard output is a terminal, which a zip archive is not for; give -o FILE");
	return CLI_OK;
}

/* Into `file` of this size, or say why not. */
static int default_file(const struct cli *cli, const char *argument, char *file, size_t size)
{
	int length = (int)strcspn(argument, ":");

	/* The name of a function has no slash: what is none would lead elsewhere, and is the node's to refuse. */
	if (!length || memchr(argument, '/', (size_t)length) ||
	    snprintf(file, size, "%.*s.zip", length, argument) >= (int)size)
		return cli_usage(cli, "'%.100s' is not the name of a function", argument);
	return CLI_OK;
}

static int deliver(const struct cli *cli, int archive, const char *file)
{
	if (options.folder)
		return unpack(cli, archive, options.folder);
	if (!strcmp(file, "-"))
		return write_to(cli, archive, STDOUT_FILENO, "standard output");
	return write_file(cli, archive, file);
}

static void tell(const struct cli *cli, json_t *answer, const char *name, const char *target)
{
	const json_t *archive = json_object_get(answer, "archive");
	bool standard = !options.folder && !strcmp(target, "-");

	if (!json_is_true(json_object_get(answer, "exact")) && !cli->json)
		fprintf(stderr,
			"warning: this is not byte for byte what was deployed: the node has compiled Python modules in the place "
			"of those that the package brought, or the code on its disk was changed\n");
	if (cli->json) {
		json_object_set_new(answer, options.folder ? "folder" : "output", json_string(target));
		cli_print_json(answer);
	} else if (options.folder) {
		printf("unpacked %s to %s (%lld files, %lld bytes)\n", name, target, cli_json_integer(archive, "files"),
		       cli_json_integer(archive, "bytes"));
	} else if (!standard) {
		printf("wrote %s to %s (%lld files, %lld bytes)\n", name, target, cli_json_integer(archive, "files"),
		       cli_json_integer(archive, "size"));
	}
}

static int run_code(struct cli *cli, int argc, char **argv)
{
	const char *target = options.folder ?: options.output;
	char file[NAME_MAX + 1];
	int archive = -1, ret = check_options(cli);
	json_t *answer;

	(void)argc;
	if (!ret && !target) {
		ret = default_file(cli, argv[0], file, sizeof(file));
		target = file;
	}
	if (!ret && options.folder)
		ret = check_folder(cli, target);
	else if (!ret && strcmp(target, "-") != 0)
		ret = check_file(cli, target);
	if (!ret)
		ret = cli_control_file(cli, qualifier_request("code", argv[0]), CODE_TIMEOUT_MS, &answer, &archive);
	if (ret)
		return ret;
	ret = archive < 0 ? cli_fail(cli, "the node answered without an archive") : deliver(cli, archive, target);
	if (archive >= 0)
		close(archive);
	if (!ret)
		tell(cli, answer, argv[0], target);
	json_decref(answer);
	return ret;
}

const struct command cmd_code = {
	.name = "code",
	.options = &options,
	.run = run_code,
	.positional_min = 1,
	.positional_max = 1,
	.help = {
		.summary = "get the code of a function back",
		.synopsis = "NAME[:QUALIFIER] [-o FILE | -d FOLDER] [--force]",
		.description = "Writes a zip archive with the files that were deployed, function.json among them if there was one: what "
			       "`warmcore deploy` takes again, and then says that nothing has changed if the settings are those, too. "
			       "QUALIFIER is the number of a published version or an alias (of one with a weight, its first version); "
			       "without it, what was deployed last. The same code is the same bytes each time: times are those of 1980, "
			       "and of modes only whether a file can be executed is kept. What the node made of the code, such as "
			       "compiled Python modules, is not in it. Only who calls this can read FILE or enter a new FOLDER.",
		.examples = "  warmcore code thumbnail\n"
			    "  warmcore code thumbnail:prod -d ./thumbnail-prod\n"
			    "  warmcore code thumbnail:3 -o - | sha256sum",
		.options = specs,
	},
};
