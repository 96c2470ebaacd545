/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pack.c - see pack.h. fts(3) lists what is there; then libzip asks for one content after the other, and each is opened by itself, below the
 * folder and never through a link. So at most one file is open, and nothing is in memory as a whole.
 */
#include "user/pack.h"

#include "user/package.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zip.h>

#define CHUNK (256 << 10)
#define ITEMS_GROW 256
#define LEVEL 6	      /* libzip's own is 9: more than three times as long for 1 % less */
#define DOS_DATE 0x21 /* 1 January 1980, the first there is */
#define CACHE "__pycache__"
#define SHOWN "%.200s"

/* Letters as in digest.h. */
struct item {
	struct packing *packing;
	char *path;   /* below the folder */
	char *target; /* of a link */
	uint64_t size;
	char kind;
	bool left_out;
	int fd; /* while its content is read */
	uint64_t at;
	zip_error_t error;
};

/* The archive that is written. */
struct output {
	int fd;
	uint64_t at, size;
	int error; /* errno */
	zip_error_t zip_error;
};

struct packing {
	const struct wc_packing *how;
	int root;
	struct item *items;
	uint32_t count, room;
	uint64_t bytes;
	uint32_t summed; /* of the items: those that are in the sum */
	struct wc_digester sum;
	struct output output;
	int error; /* of a callback, which has said why */
	struct wc_fault *fault;
};

static int open_below(const struct packing *packing, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = resolve | RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };

	return (int)syscall(SYS_openat2, packing->root, path, &how, sizeof(how));
}

static int changed(struct packing *packing, const char *path)
{
	return wc_fail(packing->fault, EAGAIN, SHOWN " changed while it was packed; try again", path);
}

/* --- what is there --- */

static bool is_plain(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || *name == 0x7f || *name == '\\')
			return false;
	return true;
}

static int take(struct packing *packing, const struct item *item)
{
	if (packing->count >= packing->how->files)
		return wc_fail(packing->fault, EFBIG, "the code has more than %u files and folders",
			       packing->how->files);
	if (item->size > packing->how->bytes - packing->bytes)
		return wc_fail(packing->fault, EFBIG, "the code is larger than %llu MiB in all",
			       (unsigned long long)packing->how->bytes >> 20);
	packing->bytes += item->size;
	return 0;
}

static int check_name(struct packing *packing, const FTSENT *entry, const char *path)
{
	if (!is_plain(path))
		return wc_fail(packing->fault, EINVAL,
			       SHOWN ": a name with a backslash or a control character cannot be in a zip archive",
			       path);
	if (strlen(path) + (entry->fts_info == FTS_D) > WC_PACKAGE_PATH_MAX)
		return wc_fail(packing->fault, ENAMETOOLONG,
			       "%.60s...: a name that is longer than %d bytes cannot be in a zip archive", path,
			       WC_PACKAGE_PATH_MAX);
	return 0;
}

/* libzip gets their addresses when no more come. */
static int make_room(struct packing *packing)
{
	struct item *more;

	if (packing->count < packing->room)
		return 0;
	more = realloc(packing->items, (packing->room + ITEMS_GROW) * sizeof(*more));
	if (!more)
		return wc_fail(packing->fault, ENOMEM, "out of memory");
	packing->items = more;
	packing->room += ITEMS_GROW;
	return 0;
}

static void item_free(struct item *item)
{
	if (item->fd >= 0)
		close(item->fd);
	zip_error_fini(&item->error);
	free(item->target);
	free(item->path);
}

/* Where it leads to is kept, so that what was looked at is what is packed. */
static int read_link(struct packing *packing, const FTSENT *entry, struct item *item)
{
	char target[PATH_MAX];
	ssize_t n = readlink(entry->fts_path, target, sizeof(target));
	int fd;

	if (n <= 0 || n == sizeof(target))
		return changed(packing, item->path);
	fd = open_below(packing, item->path, O_PATH, 0);
	if (fd < 0)
		return wc_fail(packing->fault, EINVAL,
			       "the symbolic link " SHOWN " leads out of the code, or to nothing", item->path);
	close(fd);
	item->target = strndup(target, (size_t)n);
	item->size = (uint64_t)n;
	return item->target ? 0 : wc_fail(packing->fault, ENOMEM, "out of memory");
}

static int list_entry(struct packing *packing, const FTSENT *entry, const char *path)
{
	struct item *item;
	int error;

	switch (entry->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return wc_fail(packing->fault, entry->fts_errno, "cannot read " SHOWN ": %s", path,
			       strerror(entry->fts_errno));
	case FTS_D:
	case FTS_F:
	case FTS_SL:
	case FTS_SLNONE:
		break;
	default:
		return wc_fail(packing->fault, EINVAL, SHOWN " is neither a file, a folder nor a symbolic link", path);
	}
	if (!entry->fts_level)
		return 0;
	error = check_name(packing, entry, path);
	if (!error)
		error = make_room(packing);
	if (error)
		return error;
	item = &packing->items[packing->count];
	*item = (struct item){ .packing = packing, .path = strdup(path), .kind = 'd', .fd = -1 };
	zip_error_init(&item->error);
	if (!item->path)
		error = wc_fail(packing->fault, ENOMEM, "out of memory");
	if (entry->fts_info == FTS_F) {
		item->kind = entry->fts_statp->st_mode & 0100 ? 'x' : 'f';
		item->size = (uint64_t)entry->fts_statp->st_size;
	} else if (!error && entry->fts_info != FTS_D) {
		item->kind = 'l';
		error = read_link(packing, entry, item);
	}
	if (!error)
		error = take(packing, item);
	if (error)
		item_free(item);
	else
		packing->count++;
	return error;
}

/* The order of the digest. */
static int compare(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int list(struct packing *packing, const char *folder)
{
	FTS *walk = fts_open((char *const[]){ (char *)(uintptr_t)folder, NULL }, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV,
			     compare);
	size_t root = strlen(folder);
	FTSENT *entry;
	int error = 0;

	if (!walk)
		return wc_fail(packing->fault, errno, "cannot read %s: %s", folder, strerror(errno));
	while (!error && (errno = 0, entry = fts_read(walk)))
		error = list_entry(packing, entry, entry->fts_path + root + !!entry->fts_level);
	if (!error && errno)
		error = wc_fail(packing->fault, errno, "cannot read %s: %s", folder, strerror(errno));
	fts_close(walk);
	return error;
}

/* --- what the daemon has compiled --- */

static bool is_cache(const struct item *item)
{
	const char *slash = strrchr(item->path, '/');

	return item->kind == 'd' && !strcmp(slash ? slash + 1 : item->path, CACHE);
}

/* `base` is that of a file right in the folder `cache`. */
static bool is_compiled(const struct packing *packing, const struct item *item, const struct item *cache,
			const char *base)
{
	static const unsigned char unchecked[4] = { 1 };
	size_t length = strlen(base), name;
	unsigned char head[8];
	char source[2048];
	struct stat status;
	const char *dot;
	int fd;
	bool is;

	if (item->kind != 'f' || length < 5 || strcmp(base + length - 4, ".pyc") != 0)
		return false;
	dot = memrchr(base, '.', length - 4);
	name = dot ? (size_t)(dot - base) : 0;
	if (!name)
		return false;
	snprintf(source, sizeof(source), "%.*s%.*s.py", (int)(strlen(cache->path) - strlen(CACHE)), cache->path,
		 (int)name, base);
	fd = open_below(packing, source, O_PATH, RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return false;
	is = !fstat(fd, &status) && S_ISREG(status.st_mode);
	close(fd);
	fd = is ? open_below(packing, item->path, O_RDONLY | O_NONBLOCK, RESOLVE_NO_SYMLINKS) : -1;
	if (fd < 0)
		return false;
	is = pread(fd, head, sizeof(head), 0) == sizeof(head) && !memcmp(head + 4, unchecked, sizeof(unchecked));
	close(fd);
	return is;
}

/* A folder goes along when nothing else is in it: it was made for them. */
static void leave_out(struct packing *packing, uint32_t *left_out)
{
	for (uint32_t i = 0; i < packing->count; i++) {
		struct item *cache = &packing->items[i];
		size_t length = strlen(cache->path);
		bool more = false;

		if (!is_cache(cache))
			continue;
		for (uint32_t j = i + 1; j < packing->count; j++) {
			struct item *item = &packing->items[j];

			if (strncmp(item->path, cache->path, length) != 0 || item->path[length] != '/')
				break;
			item->left_out = !strchr(item->path + length + 1, '/') &&
					 is_compiled(packing, item, cache, item->path + length + 1);
			*left_out += item->left_out;
			more |= !item->left_out;
		}
		cache->left_out = !more;
		*left_out += cache->left_out;
	}
}

/* --- contents, as libzip asks for them --- */

/* Those that have no content are not asked for. */
static void sum_until(struct packing *packing, const struct item *until)
{
	while (packing->summed < packing->count) {
		const struct item *item = &packing->items[packing->summed++];

		if (!item->left_out)
			wc_digest_entry(&packing->sum, item->kind, item->path, item->size);
		if (item == until)
			return;
	}
}

static int refuse(struct item *item, int error)
{
	if (!item->packing->error)
		item->packing->error = error;
	zip_error_set(&item->error, ZIP_ER_READ, -error);
	return -1;
}

static zip_int64_t item_open(struct item *item)
{
	struct packing *packing = item->packing;
	struct stat status;

	sum_until(packing, item);
	item->at = 0;
	if (item->kind == 'l')
		return 0;
	item->fd = open_below(packing, item->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, RESOLVE_NO_SYMLINKS);
	if (item->fd < 0)
		return refuse(item, errno == ENOENT || errno == ELOOP || errno == EXDEV ?
					    changed(packing, item->path) :
					    wc_fail(packing->fault, errno, "cannot read " SHOWN ": %s", item->path,
						    strerror(errno)));
	if (fstat(item->fd, &status) || !S_ISREG(status.st_mode) || (uint64_t)status.st_size != item->size ||
	    (status.st_mode & 0100 ? 'x' : 'f') != item->kind)
		return refuse(item, changed(packing, item->path));
	return 0;
}

static zip_int64_t item_read(struct item *item, void *data, uint64_t length)
{
	struct packing *packing = item->packing;
	struct pollfd stopping = { .fd = packing->how->stop, .events = POLLIN };
	uint64_t left = item->size - item->at;
	struct stat status;
	ssize_t n;

	length = length < left ? length : left;
	if (poll(&stopping, 1, 0) > 0)
		return refuse(item,
			      wc_fail(packing->fault, ECANCELED, "the node is going down; ask again when it is up"));
	if (item->kind == 'l') {
		memcpy(data, item->target + item->at, length);
		n = (ssize_t)length;
	} else if (!left) {
		if (fstat(item->fd, &status) || (uint64_t)status.st_size != item->size)
			return refuse(item, changed(packing, item->path));
		n = 0;
	} else {
		n = read(item->fd, data, length);
		if (n < 0)
			return refuse(item, wc_fail(packing->fault, errno, "cannot read " SHOWN ": %s", item->path,
						    strerror(errno)));
		if (!n)
			return refuse(item, changed(packing, item->path));
	}
	wc_digest_bytes(&packing->sum, data, (size_t)n);
	item->at += (uint64_t)n;
	return n;
}

static zip_int64_t item_call(void *state, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
	struct item *item = state;

	switch (command) {
	case ZIP_SOURCE_OPEN:
		return item_open(item);
	case ZIP_SOURCE_READ:
		return item_read(item, data, length);
	case ZIP_SOURCE_CLOSE:
		if (item->fd >= 0)
			close(item->fd);
		item->fd = -1;
		return 0;
	case ZIP_SOURCE_STAT:
		zip_stat_init(data);
		((zip_stat_t *)data)->size = item->size;
		((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
		return sizeof(zip_stat_t);
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&item->error, data, length);
	case ZIP_SOURCE_FREE: /* it is the list's */
		return 0;
	case ZIP_SOURCE_SUPPORTS:
		return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
						      ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
						      ZIP_SOURCE_SUPPORTS, -1);
	default:
		zip_error_set(&item->error, ZIP_ER_OPNOTSUPP, 0);
		return -1;
	}
}

/* --- the archive --- */

static zip_int64_t output_failed(struct output *output, int error)
{
	output->error = error;
	zip_error_set(&output->zip_error, ZIP_ER_WRITE, error);
	return -1;
}

static zip_int64_t output_empty(struct output *output)
{
	output->at = output->size = 0;
	return ftruncate(output->fd, 0) ? output_failed(output, errno) : 0;
}

static zip_int64_t output_write(struct output *output, const char *data, uint64_t length)
{
	for (uint64_t left = length; left;) {
		ssize_t n = pwrite(output->fd, data + (length - left), left, (off_t)output->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return output_failed(output, n ? errno : ENOSPC);
		left -= (uint64_t)n;
		output->at += (uint64_t)n;
	}
	if (output->at > output->size)
		output->size = output->at;
	return (zip_int64_t)length;
}

static zip_int64_t output_call(void *state, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
	struct output *output = state;
	zip_int64_t at;

	switch (command) {
	case ZIP_SOURCE_OPEN:
	case ZIP_SOURCE_READ: /* it is empty when it is opened */
	case ZIP_SOURCE_CLOSE:
	case ZIP_SOURCE_SEEK:
	case ZIP_SOURCE_TELL:
	case ZIP_SOURCE_COMMIT_WRITE:
	case ZIP_SOURCE_FREE:
		return 0;
	case ZIP_SOURCE_STAT:
		zip_stat_init(data);
		((zip_stat_t *)data)->valid = ZIP_STAT_SIZE;
		return sizeof(zip_stat_t);
	case ZIP_SOURCE_BEGIN_WRITE:
	case ZIP_SOURCE_ROLLBACK_WRITE:
	case ZIP_SOURCE_REMOVE:
		return output_empty(output);
	case ZIP_SOURCE_WRITE:
		return output_write(output, data, length);
	case ZIP_SOURCE_SEEK_WRITE:
		at = zip_source_seek_compute_offset(output->at, output->size, data, length, &output->zip_error);
		if (at < 0)
			return -1;
		output->at = (uint64_t)at;
		return 0;
	case ZIP_SOURCE_TELL_WRITE:
		return (zip_int64_t)output->at;
	case ZIP_SOURCE_ERROR:
		return zip_error_to_data(&output->zip_error, data, length);
	case ZIP_SOURCE_SUPPORTS:
		return ZIP_SOURCE_SUPPORTS_WRITABLE;
	default:
		zip_error_set(&output->zip_error, ZIP_ER_OPNOTSUPP, 0);
		return -1;
	}
}

static int add_to(struct packing *packing, zip_t *zip, struct item *item)
{
	static const struct {
		char kind;
		zip_uint32_t mode, method;
	} kinds[] = {
		{ 'd', S_IFDIR | 0755, ZIP_CM_STORE },
		{ 'l', S_IFLNK | 0777, ZIP_CM_STORE },
		{ 'x', S_IFREG | 0755, ZIP_CM_DEFAULT },
		{ 'f', S_IFREG | 0644, ZIP_CM_DEFAULT },
	};
	zip_source_t *source = NULL;
	zip_uint64_t index;
	zip_int64_t added;
	size_t kind = 0;

	while (kinds[kind].kind != item->kind)
		kind++;
	if (item->kind == 'd') {
		added = zip_dir_add(zip, item->path, ZIP_FL_ENC_UTF_8);
	} else {
		source = zip_source_function(zip, item_call, item);
		added = source ? zip_file_add(zip, item->path, source, ZIP_FL_ENC_UTF_8) : -1;
	}
	if (added < 0) {
		zip_source_free(source);
		if (zip_error_code_zip(zip_get_error(zip)) == ZIP_ER_INVAL)
			return wc_fail(packing->fault, EINVAL,
				       SHOWN ": a name that is not UTF-8 cannot be in a zip archive", item->path);
		return wc_fail(packing->fault, EIO, "cannot pack " SHOWN ": %s", item->path, zip_strerror(zip));
	}
	index = (zip_uint64_t)added;
	if (zip_file_set_external_attributes(zip, index, 0, ZIP_OPSYS_UNIX,
					     kinds[kind].mode << 16 | (item->kind == 'd' ? 0x10 : 0)) ||
	    zip_file_set_dostime(zip, index, 0, DOS_DATE, 0) ||
	    (source && zip_set_file_compression(zip, index, (zip_int32_t)kinds[kind].method, LEVEL)))
		return wc_fail(packing->fault, EIO, "cannot pack " SHOWN ": %s", item->path, zip_strerror(zip));
	return 0;
}

/* The end of an archive, which is all of one without entries: libzip makes none. */
static int write_nothing(struct packing *packing)
{
	static const char end[22] = "PK\5\6";

	if (output_empty(&packing->output) || output_write(&packing->output, end, sizeof(end)) < 0)
		return wc_fail(packing->fault, packing->output.error, "cannot write the zip archive: %s",
			       strerror(packing->output.error));
	return 0;
}

static int write_archive(struct packing *packing)
{
	uint32_t count = 0;
	zip_source_t *target;
	zip_error_t why;
	zip_t *zip;
	int error = 0;

	zip_error_init(&why);
	target = zip_source_function_create(output_call, &packing->output, &why);
	zip = target ? zip_open_from_source(target, ZIP_CREATE | ZIP_TRUNCATE, &why) : NULL;
	if (!zip) {
		error = wc_fail(packing->fault, EIO, "cannot begin a zip archive: %s", zip_error_strerror(&why));
		zip_source_free(target);
	}
	zip_error_fini(&why);
	if (!zip)
		return error;
	for (uint32_t i = 0; !error && i < packing->count; i++) {
		if (packing->items[i].left_out)
			continue;
		error = add_to(packing, zip, &packing->items[i]);
		count++;
	}
	if (!error && count && !zip_close(zip)) {
		sum_until(packing, NULL);
		return 0;
	}
	if (!error && packing->error)
		error = packing->error;
	else if (!error && packing->output.error)
		error = wc_fail(packing->fault, packing->output.error, "cannot write the zip archive: %s",
				strerror(packing->output.error));
	else if (!error && count)
		error = wc_fail(packing->fault, EIO, "cannot write the zip archive: %s", zip_strerror(zip));
	zip_discard(zip);
	if (error)
		return error;
	sum_until(packing, NULL);
	return write_nothing(packing);
}

static int sum_archive(const struct packing *packing, struct wc_packed *packed)
{
	uint8_t *chunk = malloc(CHUNK);
	struct sha256_ctx hash;
	int error = chunk ? 0 : wc_fail(packing->fault, ENOMEM, "out of memory");
	ssize_t n;

	packed->size = 0;
	sha256_init(&hash);
	while (!error && (n = pread(packing->output.fd, chunk, CHUNK, (off_t)packed->size))) {
		if (n < 0) {
			error = wc_fail(packing->fault, errno, "cannot read the zip archive: %s", strerror(errno));
			break;
		}
		sha256_update(&hash, (size_t)n, chunk);
		packed->size += (uint64_t)n;
	}
	free(chunk);
	if (!error)
		wc_digest_text(&hash, packed->sha256);
	return error;
}

int wc_pack_folder(const char *folder, int out, const struct wc_packing *how, struct wc_packed *ret_packed,
		   struct wc_fault *fault)
{
	struct packing packing = { .how = how, .output = { .fd = out }, .fault = fault };
	struct wc_packed packed = { .left_out = 0 };
	int error;

	packing.root = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (packing.root < 0)
		return wc_fail(fault, errno, "cannot open %s: %s", folder, strerror(errno));
	zip_error_init(&packing.output.zip_error);
	wc_digest_begin(&packing.sum);
	error = list(&packing, folder);
	if (!error && how->no_compiled)
		leave_out(&packing, &packed.left_out);
	if (!error)
		error = write_archive(&packing);
	if (!error)
		error = sum_archive(&packing, &packed);
	if (!error) {
		wc_digest_end(&packing.sum, &packed.digest);
		*ret_packed = packed;
	}
	for (uint32_t i = 0; i < packing.count; i++)
		item_free(&packing.items[i]);
	free(packing.items);
	zip_error_fini(&packing.output.zip_error);
	close(packing.root);
	return error;
}
