/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * package.c - see package.h. libzip reads the archive; this file decides what of it becomes a file, and where.
 *
 * Sizes are counted while extracting: what an archive says about itself only serves to refuse it sooner. Each part of a name is
 * opened by itself, never through a link, and links are made last: so no order of entries leads out of the folder.
 */
#include "user/package.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zip.h>

/*
 * What libzip may read to open an archive, that is its table of contents twice: it keeps that in memory, several times as large,
 * and the number of entries may be a lie.
 */
#define DIRECTORY_BYTES_MAX (16ULL << 20)
#define CHUNK (64 << 10)
#define SHOWN "%.200s" /* a name in a sentence */

/* --- where the bytes come from --- */

/* A source of libzip's that reads at a place, in a file or in memory, and stops at a budget. */
struct input {
	const struct wc_archive *archive;
	uint64_t size, at;
	uint64_t budget; /* that may be read still; UINT64_MAX: as much as there is */
	bool exceeded;
	zip_error_t error;
};

static zip_int64_t input_read(struct input *input, void *data, uint64_t len)
{
	uint64_t left = input->size > input->at ? input->size - input->at : 0;
	ssize_t n;

	len = len < left ? len : left;
	if (len > input->budget) {
		input->exceeded = true;
		zip_error_set(&input->error, ZIP_ER_MEMORY, 0);
		return -1;
	}
	if (input->archive->fd < 0) {
		if (len)
			memcpy(data, (const char *)input->archive->bytes + input->at, len);
		n = (ssize_t)len;
	} else {
		n = pread(input->archive->fd, data, len, (off_t)input->at);
		if (n < 0) {
			zip_error_set(&input->error, ZIP_ER_READ, errno);
			return -1;
		}
	}
	input->at += (uint64_t)n;
	if (input->budget != UINT64_MAX)
		input->budget -= (uint64_t)n;
	return n;
}

static zip_int64_t input_call(void *state, void *data, zip_uint64_t len, zip_source_cmd_t command)
{
	struct input *input = state;
	zip_int64_t at;

	switch (command) {
	case ZIP_SOURCE_OPEN:
		input->at = 0;
		return 0;
	case ZIP_SOURCE_READ:
		return input_read(input, data, len);
	case ZIP_SOURCE_CLOSE:
	case ZIP_SOURCE_FREE:
		return 0;
	case ZIP_SOURCE_STAT:
		zip_stat_init(data);
		((zip_stat_t *)data)->size = input->size;
		((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
		return sizeof(zip_stat_t);
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&input->error, data, len);
	case ZIP_SOURCE_SEEK:
		at = zip_source_seek_compute_offset(input->at, input->size, data, len, &input->error);
		if (at < 0)
			return -1;
		input->at = (uint64_t)at;
		return 0;
	case ZIP_SOURCE_TELL:
		return (zip_int64_t)input->at;
	case ZIP_SOURCE_SUPPORTS:
		return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
						      ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
						      ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
	default:
		zip_error_set(&input->error, ZIP_ER_OPNOTSUPP, 0);
		return -1;
	}
}

/* `input` must live as long as the result. */
static zip_t *open_archive(const struct wc_archive *archive, struct input *input, struct wc_fault *fault)
{
	zip_source_t *source;
	struct stat status;
	zip_error_t error;
	zip_t *zip;

	*input = (struct input){ .archive = archive, .size = archive->size, .budget = DIRECTORY_BYTES_MAX };
	zip_error_init(&input->error);
	if (archive->fd >= 0) {
		if (fstat(archive->fd, &status) || !S_ISREG(status.st_mode)) {
			wc_fail(fault, EINVAL, "the zip archive is not a regular file");
			return NULL;
		}
		input->size = (uint64_t)status.st_size;
	}
	zip_error_init(&error);
	source = input->size ? zip_source_function_create(input_call, input, &error) : NULL;
	zip = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &error) : NULL;
	if (!zip) {
		if (input->exceeded)
			wc_fail(fault, EFBIG, "the table of contents of the zip archive is too large");
		else if (!input->size)
			wc_fail(fault, EINVAL, "the zip archive is empty");
		else if (zip_error_code_zip(&error) == ZIP_ER_EXISTS)
			wc_fail(fault, EINVAL, "a name is twice in the zip archive");
		else
			wc_fail(fault, EINVAL, "this is not a sound zip archive: %s", zip_error_strerror(&error));
		zip_source_free(source);
		zip_error_fini(&input->error);
	}
	zip_error_fini(&error);
	input->budget = UINT64_MAX;
	return zip;
}

static void close_archive(zip_t *zip, struct input *input)
{
	zip_discard(zip);
	zip_error_fini(&input->error);
}

bool wc_package_is(const char *name, int fd)
{
	size_t len = strlen(name);
	char head[4];

	if (len > 4 && !strcasecmp(name + len - 4, ".zip"))
		return true;
	/* A file comes first, or, in an archive without any, the end. */
	return pread(fd, head, sizeof(head), 0) == sizeof(head) &&
	       (!memcmp(head, "PK\3\4", sizeof(head)) || !memcmp(head, "PK\5\6", sizeof(head)));
}

/* --- one entry --- */

enum kind {
	KIND_FILE,
	KIND_FOLDER,
	KIND_LINK,
};

struct entry {
	zip_uint64_t index;
	char name[WC_PACKAGE_PATH_MAX + 1]; /* UTF-8, without a slash at the end */
	enum kind kind;
	bool executable;
	uint64_t size; /* that it says it has */
};

struct extraction {
	zip_t *zip;
	int folder;
	uint64_t bytes; /* that may be written still */
	uint32_t files; /* that may be made still */
	uint64_t bytes_max;
	uint32_t files_max;
	struct wc_fault *fault;
};

static bool has_controls(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || *name == 0x7f)
			return true;
	return false;
}

/* Take the name of an entry over, if it is one that stays below the folder. */
static int check_name(struct extraction *x, struct entry *entry)
{
	const char *raw = zip_get_name(x->zip, entry->index, ZIP_FL_ENC_RAW);
	const char *name = zip_get_name(x->zip, entry->index, ZIP_FL_ENC_GUESS);
	size_t len;

	if (!raw || !name || !*name)
		return wc_fail(x->fault, EINVAL, "entry %llu of the zip archive has no name that can be read",
			       (unsigned long long)entry->index + 1);
	if (has_controls(raw)) /* a NUL is a space by now: libzip sees to that */
		return wc_fail(x->fault, EINVAL, "the name of entry %llu of the zip archive has control characters",
			       (unsigned long long)entry->index + 1);
	len = strlen(name);
	if (len > WC_PACKAGE_PATH_MAX)
		return wc_fail(x->fault, EINVAL, "%.60s...: a name in the zip archive is longer than %d bytes", name,
			       WC_PACKAGE_PATH_MAX);
	memcpy(entry->name, name, len + 1);
	if (strchr(name, '\\'))
		return wc_fail(x->fault, EINVAL,
			       SHOWN ": the name has a backslash; folders are separated by / in a zip archive", name);
	if (name[0] == '/')
		return wc_fail(x->fault, EINVAL, SHOWN ": the zip archive has an absolute name", name);
	if (name[len - 1] == '/') {
		entry->name[len - 1] = 0;
		entry->kind = KIND_FOLDER;
	}
	for (const char *part = entry->name;; part++) {
		size_t n = strcspn(part, "/");

		if (!n)
			return wc_fail(x->fault, EINVAL, SHOWN ": a folder in the name has no name itself", name);
		if (n > NAME_MAX)
			return wc_fail(x->fault, EINVAL, SHOWN ": a part of the name is longer than %d bytes", name,
				       NAME_MAX);
		if (n == 2 && !strncmp(part, "..", 2))
			return wc_fail(x->fault, EINVAL, SHOWN ": the name leads out of the zip archive", name);
		part += n;
		if (!*part)
			return 0;
	}
}

/* What it is, and whether it may be executed: as far as it was made on a system that has both. */
static int check_mode(struct extraction *x, struct entry *entry)
{
	zip_uint32_t attributes;
	zip_uint8_t system;
	mode_t mode;

	if (zip_file_get_external_attributes(x->zip, entry->index, 0, &system, &attributes) ||
	    (system != ZIP_OPSYS_UNIX && system != ZIP_OPSYS_OS_X))
		return 0;
	mode = attributes >> 16;
	entry->executable = mode & 0100;
	switch (mode & S_IFMT) {
	case 0:
		return 0;
	case S_IFDIR:
		if (entry->kind != KIND_FOLDER)
			return wc_fail(x->fault, EINVAL, SHOWN ": is a folder by its mode, but not by its name",
				       entry->name);
		return 0;
	case S_IFREG:
	case S_IFLNK:
		if (entry->kind == KIND_FOLDER)
			return wc_fail(x->fault, EINVAL, SHOWN "/: is a folder by its name, but not by its mode",
				       entry->name);
		entry->kind = S_ISLNK(mode) ? KIND_LINK : KIND_FILE;
		return 0;
	default:
		return wc_fail(x->fault, EINVAL, SHOWN " is neither a file, a folder nor a symbolic link", entry->name);
	}
}

static int check_entry(struct extraction *x, struct entry *entry)
{
	zip_stat_t status;
	int error;

	entry->kind = KIND_FILE;
	entry->executable = false;
	error = check_name(x, entry);
	if (!error)
		error = check_mode(x, entry);
	if (error)
		return error;
	if (zip_stat_index(x->zip, entry->index, 0, &status) ||
	    (status.valid & (ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD)) !=
		    (ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD))
		return wc_fail(x->fault, EINVAL, SHOWN ": the zip archive says nothing of its size or its kind",
			       entry->name);
	if (status.encryption_method != ZIP_EM_NONE)
		return wc_fail(x->fault, EINVAL, SHOWN " is encrypted; make the zip archive without a password",
			       entry->name);
	if (status.comp_method != ZIP_CM_STORE && status.comp_method != ZIP_CM_DEFLATE)
		return wc_fail(x->fault, EINVAL,
			       SHOWN " is compressed by method %u; only stored and deflated files can be read",
			       entry->name, status.comp_method);
	if (entry->kind == KIND_FOLDER && status.size)
		return wc_fail(x->fault, EINVAL, SHOWN "/: is a folder, but has content", entry->name);
	entry->size = status.size;
	return 0;
}

/* --- making it --- */

static int too_large(struct extraction *x)
{
	return wc_fail(x->fault, EFBIG, "the content of the zip archive is larger than %llu MiB in all",
		       (unsigned long long)x->bytes_max >> 20);
}

static int take_bytes(struct extraction *x, uint64_t bytes)
{
	if (bytes > x->bytes)
		return too_large(x);
	x->bytes -= bytes;
	return 0;
}

static int take_file(struct extraction *x)
{
	if (!x->files)
		return wc_fail(x->fault, EFBIG, "the zip archive has more than %u files and folders", x->files_max);
	x->files--;
	return 0;
}

/* Make and open the first `len` bytes of the name as folders, one below the other. -1 comes with a fault. */
static int open_folders(struct extraction *x, const char *name, size_t len)
{
	int folder = openat(x->folder, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), next, error = 0;
	char part[NAME_MAX + 1];

	for (size_t at = 0; folder >= 0 && at < len; at++) {
		size_t n = strcspn(name + at, "/");

		n = n < len - at ? n : len - at;
		memcpy(part, name + at, n);
		part[n] = 0;
		at += n;
		if (!mkdirat(folder, part, 0755))
			error = take_file(x);
		else if (errno != EEXIST)
			error = wc_fail(x->fault, errno, "cannot create " SHOWN ": %s", name, strerror(errno));
		next = error ? -1 : openat(folder, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && !error)
			error = wc_fail(x->fault, errno, SHOWN " is in a folder that is something else, too", name);
		close(folder);
		folder = next;
	}
	if (folder < 0 && !error)
		wc_fail(x->fault, errno, "cannot open the folder of the code: %s", strerror(errno));
	return folder;
}

static int already_there(struct extraction *x, const char *name)
{
	return errno == EEXIST ? wc_fail(x->fault, EINVAL, SHOWN " is twice in the zip archive", name) :
				 wc_fail(x->fault, errno, "cannot create " SHOWN ": %s", name, strerror(errno));
}

static int write_content(struct extraction *x, const struct entry *entry, zip_file_t *in, int out)
{
	char *chunk = malloc(CHUNK);
	int error = chunk ? 0 : wc_fail(x->fault, ENOMEM, "out of memory");

	while (!error) {
		zip_int64_t n = zip_fread(in, chunk, CHUNK);

		if (n == 0)
			break; /* the checksum was right, too */
		if (n < 0)
			error = wc_fail(x->fault, EINVAL, SHOWN ": the zip archive is damaged: %s", entry->name,
					zip_file_strerror(in));
		else
			error = take_bytes(x, (uint64_t)n);
		for (zip_int64_t at = 0; !error && at < n;) {
			ssize_t written = write(out, chunk + at, (size_t)(n - at));

			if (written <= 0)
				error = wc_fail(x->fault, written ? errno : EIO, "cannot write " SHOWN ": %s",
						entry->name, strerror(written ? errno : EIO));
			else
				at += written;
		}
	}
	free(chunk);
	return error;
}

static zip_file_t *open_entry(struct extraction *x, const struct entry *entry)
{
	zip_file_t *in = zip_fopen_index(x->zip, entry->index, 0);

	if (!in)
		wc_fail(x->fault, EINVAL, SHOWN ": the zip archive is damaged: %s", entry->name, zip_strerror(x->zip));
	return in;
}

static int make_file(struct extraction *x, const struct entry *entry, int folder, const char *base)
{
	zip_file_t *in = open_entry(x, entry);
	int out, error;

	if (!in)
		return -EINVAL;
	out = openat(folder, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	error = out < 0 ? already_there(x, entry->name) : write_content(x, entry, in, out);
	if (!error && fchmod(out, entry->executable ? 0755 : 0644))
		error = wc_fail(x->fault, errno, "cannot write " SHOWN ": %s", entry->name, strerror(errno));
	if (out >= 0)
		close(out);
	zip_fclose(in);
	return error;
}

static int make_link(struct extraction *x, const struct entry *entry, int folder, const char *base)
{
	zip_file_t *in = open_entry(x, entry);
	char target[PATH_MAX];
	zip_int64_t n, at = 0;
	int error;

	if (!in)
		return -EINVAL;
	while ((n = zip_fread(in, target + at, sizeof(target) - (size_t)at)) > 0)
		at += n;
	if (n < 0)
		error = wc_fail(x->fault, EINVAL, SHOWN ": the zip archive is damaged: %s", entry->name,
				zip_file_strerror(in));
	else if (!at || at == sizeof(target) || memchr(target, 0, (size_t)at))
		error = wc_fail(x->fault, EINVAL, SHOWN ": what the symbolic link leads to is not a name", entry->name);
	else
		error = take_bytes(x, (uint64_t)at);
	if (!error) {
		target[at] = 0;
		error = symlinkat(target, folder, base) ? already_there(x, entry->name) : 0;
	}
	zip_fclose(in);
	return error;
}

static int make_entry(struct extraction *x, const struct entry *entry)
{
	const char *slash = strrchr(entry->name, '/'), *base = slash ? slash + 1 : entry->name;
	bool itself = entry->kind == KIND_FOLDER;
	int folder = open_folders(x, entry->name,
				  itself ? strlen(entry->name) :
				  slash	 ? (size_t)(slash - entry->name) :
					   0);
	int error = folder < 0 ? -EINVAL : 0;

	if (!error && !itself)
		error = take_file(x);
	if (!error && !itself)
		error = entry->kind == KIND_LINK ? make_link(x, entry, folder, base) :
						   make_file(x, entry, folder, base);
	if (folder >= 0)
		close(folder);
	return error;
}

/* Only now: what a link leads to may come later in the archive, and may itself be a link. */
static int check_link(struct extraction *x, const struct entry *entry)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH };
	int fd = (int)syscall(SYS_openat2, x->folder, entry->name, &how, sizeof(how));

	if (fd < 0)
		return wc_fail(x->fault, EINVAL,
			       "the symbolic link " SHOWN " leads out of the zip archive, or to nothing", entry->name);
	close(fd);
	return 0;
}

static int extract_all(struct extraction *x)
{
	zip_int64_t count = zip_get_num_entries(x->zip, 0);
	struct entry entry;
	uint64_t size = 0;
	int error = 0;

	if (count > x->files_max)
		return wc_fail(x->fault, EFBIG, "the zip archive has more than %u files and folders", x->files_max);
	for (zip_int64_t i = 0; !error && i < count; i++) {
		entry.index = (zip_uint64_t)i;
		error = check_entry(x, &entry);
		if (!error && entry.size > x->bytes - size)
			error = too_large(x);
		size += entry.size;
	}
	for (int links = 0; links < 2; links++) {
		for (zip_int64_t i = 0; !error && i < count; i++) {
			entry.index = (zip_uint64_t)i;
			error = check_entry(x, &entry);
			if (!error && (entry.kind == KIND_LINK) == links)
				error = make_entry(x, &entry);
		}
	}
	for (zip_int64_t i = 0; !error && i < count; i++) {
		entry.index = (zip_uint64_t)i;
		error = check_entry(x, &entry);
		if (!error && entry.kind == KIND_LINK)
			error = check_link(x, &entry);
	}
	return error;
}

int wc_package_extract(const struct wc_archive *archive, int folder, uint64_t bytes, uint32_t files,
		       struct wc_fault *fault)
{
	struct extraction x = {
		.folder = folder, .bytes = bytes, .files = files, .bytes_max = bytes, .files_max = files, .fault = fault
	};
	struct input input;
	int error;

	x.zip = open_archive(archive, &input, fault);
	if (!x.zip)
		return input.exceeded ? -EFBIG : -EINVAL;
	error = extract_all(&x);
	close_archive(x.zip, &input);
	return error;
}

int wc_package_read(const struct wc_archive *archive, const char *name, size_t max, char **ret_text, size_t *ret_size,
		    struct wc_fault *fault)
{
	struct extraction x = { .fault = fault };
	struct entry entry = { 0 };
	struct input input;
	zip_file_t *in = NULL;
	zip_int64_t index, n;
	char *text = NULL;
	size_t at = 0;
	int error;

	x.zip = open_archive(archive, &input, fault);
	if (!x.zip)
		return input.exceeded ? -EFBIG : -EINVAL;
	index = zip_name_locate(x.zip, name, 0);
	entry.index = (zip_uint64_t)index;
	error = index < 0 ? wc_fail(fault, ENOENT, "the zip archive has no %s at its root", name) :
			    check_entry(&x, &entry);
	if (!error && entry.kind != KIND_FILE)
		error = wc_fail(fault, EINVAL, "%s in the zip archive is not a file", name);
	if (!error && entry.size > max)
		error = wc_fail(fault, EFBIG, "%s in the zip archive is larger than %zu bytes", name, max);
	if (!error && !(text = malloc(max + 1)))
		error = wc_fail(fault, ENOMEM, "out of memory");
	if (!error && !(in = open_entry(&x, &entry)))
		error = -EINVAL;
	while (!error && (n = zip_fread(in, text + at, max + 1 - at)) != 0) {
		if (n < 0)
			error = wc_fail(fault, EINVAL, SHOWN ": the zip archive is damaged: %s", name,
					zip_file_strerror(in));
		else if ((at += (size_t)n) > max)
			error = wc_fail(fault, EFBIG, "%s in the zip archive is larger than %zu bytes", name, max);
	}
	if (in)
		zip_fclose(in);
	close_archive(x.zip, &input);
	if (error || !text) {
		free(text);
		return error;
	}
	text[at] = 0;
	*ret_text = text;
	*ret_size = at;
	return 0;
}

bool wc_package_has(const struct wc_archive *archive, const char *name)
{
	struct wc_fault fault;
	struct input input;
	zip_t *zip = open_archive(archive, &input, &fault);
	bool found = zip && zip_name_locate(zip, name, 0) >= 0;

	if (zip)
		close_archive(zip, &input);
	return found;
}
