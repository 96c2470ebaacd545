/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * warmcore_channel.c - the channel as a CPython extension, _warmcore_channel.abi3.so. Optional: the runtime falls back
 * to ctypes without it, and a no-op invocation then takes about a fifth longer (docs/RUNTIMES.md). Limited API, so one
 * build serves every Python from 3.10 on.
 *
 *     cc -O2 -shared -fPIC $(python3-config --includes) -o _warmcore_channel.abi3.so warmcore_channel.c ../native/channel.c \
 *        ../native/zygote.c
 *
 * Without it there is no zygote for Python either: each instance starts an interpreter.
 *
 * One channel a process, like the process it serves.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030a0000
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../native/channel_client.h"
#include "../native/zygote.h"

static struct wc_client *client;

static PyObject *fail(int err)
{
	errno = -err;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static int check_open(void)
{
	if (client)
		return 0;
	PyErr_SetString(PyExc_RuntimeError, "the channel is not open");
	return -1;
}

static PyObject *channel_open(PyObject *self, PyObject *spec_object)
{
	PyObject *bytes = PyUnicode_AsUTF8String(spec_object);
	const char *spec = bytes ? PyBytes_AsString(bytes) : NULL;
	int err;

	(void)self;
	if (!spec) {
		Py_XDECREF(bytes);
		return NULL;
	}
	if (client) {
		Py_DECREF(bytes);
		return fail(-EBUSY);
	}
	err = wc_client_open_spec(spec, &client);
	Py_DECREF(bytes);
	return err ? fail(err) : PyLong_FromUnsignedLong(client->capacity);
}

static PyObject *channel_ready(PyObject *self, PyObject *flags)
{
	unsigned long value = PyLong_AsUnsignedLong(flags);
	int err;

	(void)self;
	if (check_open() || PyErr_Occurred())
		return NULL;
	wc_client_allow_lines(client);
	err = wc_client_ready(client, (uint32_t)value);
	if (err)
		return fail(err);
	Py_RETURN_NONE;
}

static PyObject *channel_init_error(PyObject *self, PyObject *payload)
{
	Py_ssize_t length;
	char *data;
	int err;

	(void)self;
	if (check_open() || PyBytes_AsStringAndSize(payload, &data, &length))
		return NULL;
	err = length > (Py_ssize_t)client->capacity ? -EMSGSIZE : wc_client_init_error(client, data, (uint32_t)length);
	if (err)
		return fail(err);
	Py_RETURN_NONE;
}

static PyObject *channel_next(PyObject *self, PyObject *unused)
{
	const struct wc_message *request;
	PyObject *tuple, *item;
	int err;

	(void)self;
	(void)unused;
	if (check_open())
		return NULL;
	for (;;) {
		Py_BEGIN_ALLOW_THREADS
		err = wc_client_next(client);
		Py_END_ALLOW_THREADS
		if (err != -EINTR)
			break;
		if (PyErr_CheckSignals())
			return NULL;
	}
	if (err < 0)
		return fail(err);
	if (!err)
		Py_RETURN_NONE;
	request = client->request;
	tuple = PyTuple_New(5);
	if (!tuple)
		return NULL;
	/* PyTuple_SetItem takes the reference even when it fails, and a NULL item only makes it fail later: check each. */
	item = PyBytes_FromStringAndSize((const char *)client->request_payload, request->length);
	if (!item || PyTuple_SetItem(tuple, 0, item))
		goto err_tuple;
	item = PyLong_FromUnsignedLongLong(request->request_id);
	if (!item || PyTuple_SetItem(tuple, 1, item))
		goto err_tuple;
	item = PyLong_FromUnsignedLongLong(request->deadline_ns);
	if (!item || PyTuple_SetItem(tuple, 2, item))
		goto err_tuple;
	item = PyLong_FromUnsignedLong(request->flags);
	if (!item || PyTuple_SetItem(tuple, 3, item))
		goto err_tuple;
	if (client->context) {
		item = PyBytes_FromStringAndSize((const char *)client->context, request->context);
	} else {
		item = Py_None;
		Py_INCREF(item);
	}
	if (!item || PyTuple_SetItem(tuple, 4, item))
		goto err_tuple;
	return tuple;

err_tuple:
	Py_DECREF(tuple);
	return NULL;
}

static PyObject *channel_answer(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
	unsigned long kind, flags;
	Py_ssize_t length;
	char *data;
	int err;

	(void)self;
	if (check_open())
		return NULL;
	if (count != 3) {
		PyErr_SetString(PyExc_TypeError, "answer(kind, flags, payload)");
		return NULL;
	}
	kind = PyLong_AsUnsignedLong(args[0]);
	flags = PyLong_AsUnsignedLong(args[1]);
	if (PyErr_Occurred() || PyBytes_AsStringAndSize(args[2], &data, &length))
		return NULL;
	err = length > (Py_ssize_t)client->capacity ?
		      -EMSGSIZE :
		      wc_client_answer(client, (uint32_t)kind, (uint32_t)flags, data, (uint32_t)length);
	if (err)
		return fail(err);
	Py_RETURN_NONE;
}

/* Asked only by a result that is larger than CAPACITY: it costs the others nothing. */
static PyObject *channel_answer_max(PyObject *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	return check_open() ? NULL : PyLong_FromUnsignedLong(client->capacity);
}

/* call(how, number, name, payload) -> (flags, number, result) */
static PyObject *channel_call(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
	struct wc_client_callee callee;
	struct wc_client_result result;
	PyObject *name, *bytes, *tuple = NULL, *flags, *number;
	Py_ssize_t length;
	char *data;
	int err;

	(void)self;
	if (check_open())
		return NULL;
	if (count != 4) {
		PyErr_SetString(PyExc_TypeError, "call(how, number, name, payload)");
		return NULL;
	}
	callee.how = (uint32_t)PyLong_AsUnsignedLong(args[0]);
	callee.number = (uint32_t)PyLong_AsUnsignedLong(args[1]);
	if (PyErr_Occurred() || PyBytes_AsStringAndSize(args[3], &data, &length))
		return NULL;
	name = PyUnicode_AsUTF8String(args[2]);
	callee.function = name ? PyBytes_AsString(name) : NULL;
	if (!callee.function)
		goto out;
	if (length > UINT32_MAX)
		length = UINT32_MAX;
	Py_BEGIN_ALLOW_THREADS
	err = wc_client_call(client, &callee, data, (uint32_t)length, &result);
	Py_END_ALLOW_THREADS
	if (err) {
		fail(err);
		goto out;
	}
	bytes = PyBytes_FromStringAndSize((const char *)result.payload, result.length);
	flags = PyLong_FromUnsignedLong(result.flags);
	number = PyLong_FromUnsignedLong(result.number);
	if (bytes && flags && number)
		tuple = PyTuple_Pack(3, flags, number, bytes);
	Py_XDECREF(flags);
	Py_XDECREF(number);
	Py_XDECREF(bytes);
out:
	Py_XDECREF(name);
	return tuple;
}

extern char **environ;

/*
 * fork() leaves out the page tables of file mappings in which nothing was written, and an instance then maps Python's code and constants
 * again, fault by fault. So one byte of each is written over with itself: through the file, so nothing becomes writable. A zygote has some
 * 20 pages more for it. Not those of libraries that are still to come: numpy's are large, and an instance uses little of them. Where a kernel
 * refuses it, or there is no /proc, all is as it would be without.
 */
static void keep_tables_of_text(void)
{
	int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	FILE *maps = memory < 0 ? NULL : fopen("/proc/self/maps", "re");
	char line[512], rights[5], byte;
	unsigned long begin;
	bool whole = true; /* `line` is the beginning of one */

	while (maps && fgets(line, sizeof(line), maps)) {
		bool first = whole;

		whole = strchr(line, '\n') != NULL;
		if (first && sscanf(line, "%lx-%*x %4s", &begin, rights) == 2 && rights[0] == 'r' && rights[1] == '-' &&
		    rights[3] == 'p' && strchr(line, '/') && pread(memory, &byte, 1, (off_t)begin) == 1 &&
		    pwrite(memory, &byte, 1, (off_t)begin) != 1)
			break;
	}
	if (maps)
		fclose(maps);
	if (memory >= 0)
		close(memory);
}

/* Before anything is imported. */
static PyObject *zygote_prepare(PyObject *self, PyObject *unused)
{
	int err = wc_zygote_prepare();

	(void)self;
	(void)unused;
	if (err)
		return fail(err);
	keep_tables_of_text();
	Py_RETURN_NONE;
}

/* One of os.environ's strings to both dictionaries; what is no "KEY=value" is left out. */
static int add_variable(PyObject *bytes, PyObject *texts, const char *entry)
{
	const char *equals = strchr(entry, '=');
	PyObject *name, *value;
	int err = -1;

	if (!equals)
		return 0;
	if (bytes) {
		name = PyBytes_FromStringAndSize(entry, equals - entry);
		value = name ? PyBytes_FromString(equals + 1) : NULL;
		err = value ? PyDict_SetItem(bytes, name, value) : -1;
		Py_XDECREF(name);
		Py_XDECREF(value);
		if (err)
			return err;
	}
	name = PyUnicode_DecodeFSDefaultAndSize(entry, equals - entry);
	value = name ? PyUnicode_DecodeFSDefault(equals + 1) : NULL;
	err = value ? PyDict_SetItem(texts, name, value) : -1;
	Py_XDECREF(name);
	Py_XDECREF(value);
	return err;
}

/*
 * An instance's environment twice: as os.environ keeps it, and as texts for the runtime. Here, because each line of Python that an instance
 * runs writes to reference counts in some pages more, and copying one of them takes 4 us. What says where the channel is goes to the runtime only.
 */
static PyObject *make_environment(void)
{
	PyObject *bytes = PyDict_New(), *texts = PyDict_New(), *both = NULL;
	int err = bytes && texts ? 0 : -1;

	for (char **at = environ; !err && *at; at++)
		err = add_variable(strncmp(*at, WC_CLIENT_ENV "=", sizeof(WC_CLIENT_ENV)) ? bytes : NULL, texts, *at);
	unsetenv(WC_CLIENT_ENV);
	if (!err)
		both = PyTuple_Pack(2, bytes, texts);
	Py_XDECREF(bytes);
	Py_XDECREF(texts);
	return both;
}

/* Fork instances until the end. In each of them: its environment, as make_environment() has it. In the zygote: None. */
static PyObject *zygote_serve(PyObject *self, PyObject *fd_object)
{
	const struct wc_zygote_hooks hooks = {
		.before = PyOS_BeforeFork,
		.after_parent = PyOS_AfterFork_Parent,
		.after_child = PyOS_AfterFork_Child,
	};
	long fd = PyLong_AsLong(fd_object);
	int err;

	(void)self;
	if (PyErr_Occurred())
		return NULL;
	err = wc_zygote_serve((int)fd, &hooks);
	if (err < 0)
		return fail(err);
	if (!err)
		Py_RETURN_NONE;
	signal(SIGPIPE, SIG_IGN); /* as in every interpreter, which believes that it still is: EPIPE is an exception */
	return make_environment();
}

static PyObject *channel_exit_on_sigterm(PyObject *self, PyObject *unused)
{
	int err = wc_client_exit_on_sigterm();

	(void)self, (void)unused;
	if (err)
		return fail(err);
	Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
	{ "open", channel_open, METH_O, "open(spec) -> capacity" },
	{ "ready", channel_ready, METH_O, "ready(flags): say READY" },
	{ "init_error", channel_init_error, METH_O, "init_error(payload)" },
	{ "next", channel_next, METH_NOARGS,
	  "-> (payload, request_id, deadline_ns, core + 1, context or None), or None at the end" },
	{ "answer", (PyCFunction)(void (*)(void))channel_answer, METH_FASTCALL, "answer(kind, flags, payload: bytes)" },
	{ "answer_max", channel_answer_max, METH_NOARGS, "-> bytes that the answer to the last request may have" },
	{ "call", (PyCFunction)(void (*)(void))channel_call, METH_FASTCALL,
	  "call(how, number, name, payload: bytes) -> (flags, number, bytes)" },
	{ "exit_on_sigterm", channel_exit_on_sigterm, METH_NOARGS, "in C, so that it may come at any time" },
	{ "zygote_prepare", zygote_prepare, METH_NOARGS, "put off the rights that a zygote does not need" },
	{ "zygote_serve", zygote_serve, METH_O,
	  "zygote_serve(fd) -> ({b\"KEY\": b\"value\"}, the same as texts) in an instance, or None" },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "_warmcore_channel",
	.m_doc = "The instance's end of the warmcore channel.",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit__warmcore_channel(void);

PyMODINIT_FUNC PyInit__warmcore_channel(void)
{
	return PyModule_Create(&module);
}
