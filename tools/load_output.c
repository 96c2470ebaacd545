// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* load_output.c - results of `warmcore load` to a terminal, a script or a file, and `warmcore load merge`, which reads such files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/load_command.h"

#define FILE_BYTES_MAX (512u << 20)

/* A new file beside it, then renamed: whoever reads sees all of it or what was there before. */
static int write_file(const struct cli *cli, const char *path, const json_t *object)
{
	size_t size = strlen(path) + 16;
	char *beside = malloc(size);
	FILE *file = NULL;
	int fd, error = 0;

	if (!beside)
		return cli_fail(cli, "out of memory");
	snprintf(beside, size, "%s.XXXXXX", path);
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (!file) {
		error = errno;
		if (fd >= 0)
			close(fd);
	} else {
		if (fchmod(fd, 0644) || json_dumpf(object, file, JSON_COMPACT) || fputc('\n', file) == EOF)
			error = errno ?: EIO;
		if (fclose(file) && !error)
			error = errno;
		if (!error && rename(beside, path))
			error = errno;
	}
	if (error && fd >= 0)
		unlink(beside);
	free(beside);
	return error ? cli_fail(cli, "cannot write %s: %s", path, strerror(error)) : CLI_OK;
}

int load_show(const struct cli *cli, const struct load_result *result, const struct load_output *output)
{
	json_t *object = cli->json || output->file ? load_result_json(result) : NULL;
	struct load_function total;
	struct load_pace pace;
	int status = CLI_OK, ret = load_result_total(result, &total);

	if (ret || ((cli->json || output->file) && !object)) {
		if (!ret)
			load_function_clear(&total);
		json_decref(object);
		return cli_fail(cli, "%s", ret == -ERANGE ? "the sums are larger than 2^63 - 1" : "out of memory");
	}
	load_pace(result, &total, &pace);
	if (output->file)
		status = write_file(cli, output->file, object);
	if (cli->json)
		cli_print_json(object);
	else if (output->csv)
		ret = load_result_print_csv(result, stdout);
	else
		ret = load_result_print(result, output->each_function, stdout);
	if (ret)
		status = cli_fail(cli, "%s", strerror(-ret));
	fflush(stdout);
	if (!pace.kept_up) {
		fprintf(stderr, "%swarning%s: the load was not what was asked for: %s\n", cli_yellow(cli),
			cli_plain(cli), pace.text);
		if (output->strict && !status)
			status = CLI_FAILED;
	}
	if (!status && total.counts[LOAD_COUNT_sent] && !total.counts[LOAD_COUNT_replied])
		status = CLI_NO_ANSWER;
	load_function_clear(&total);
	json_decref(object);
	return status;
}

static int read_file(const struct cli *cli, const char *path, char **ret_bytes, size_t *ret_length)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	size_t length = 0, room = 0;
	char *bytes = NULL, *more;
	ssize_t n = 1;

	if (fd < 0)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	while (n > 0 && length <= FILE_BYTES_MAX) {
		if (length == room) {
			room = room ? 2 * room : 65536;
			more = realloc(bytes, room);
			if (!more) {
				errno = ENOMEM;
				n = -1;
				break;
			}
			bytes = more;
		}
		n = read(fd, bytes + length, room - length);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			length += (size_t)n;
	}
	close(fd);
	if (n < 0 || length > FILE_BYTES_MAX) {
		int error = n < 0 ? errno : EFBIG;

		free(bytes);
		return cli_fail(cli, "%s: %s", path, strerror(error));
	}
	*ret_bytes = bytes;
	*ret_length = length;
	return CLI_OK;
}

static int add_file(const struct cli *cli, const char *path, struct load_result *sum)
{
	struct load_result result;
	struct wc_fault fault;
	size_t length = 0;
	char *bytes = NULL;
	int ret = read_file(cli, path, &bytes, &length);

	if (ret)
		return ret;
	ret = load_result_parse(bytes, length, &result, &fault);
	free(bytes);
	if (ret)
		return cli_fail(cli, "%s: %s", path, fault.text);
	ret = load_result_merge(sum, &result, &fault);
	load_result_clear(&result);
	return ret ? cli_fail(cli, "%s: %s", path, fault.text) : CLI_OK;
}

int load_merge(const struct cli *cli, int argc, char **argv, const struct load_output *output)
{
	struct load_result sum;
	int ret = CLI_OK;

	if (!argc)
		return cli_usage(cli, "load merge needs files that load --output has written");
	if (load_result_init(&sum, 0))
		return cli_fail(cli, "out of memory");
	for (int i = 0; i < argc && !ret; i++)
		ret = add_file(cli, argv[i], &sum);
	if (!ret)
		ret = load_show(cli, &sum, output);
	load_result_clear(&sum);
	return ret;
}
