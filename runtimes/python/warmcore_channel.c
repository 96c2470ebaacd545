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

/* Before anything is imported. */
static PyObject *zygote_prepare(PyObject *self, PyObject *unused)
{
	int err = wc_zygote_prepare();

	(void)self;
	(void)unused;
	if (err)
		return fail(err);
	Py_RETURN_NONE;
}

/* Fork instances until the end. In each of them: a list of its environment's strings, as bytes. In the zygote: None. */
static PyObject *zygote_serve(PyObject *self, PyObject *fd_object)
{
	const struct wc_zygote_hooks hooks = {
		.before = PyOS_BeforeFork,
		.after_parent = PyOS_AfterFork_Parent,
		.after_child = PyOS_AfterFork_Child,
	};
	long fd = PyLong_AsLong(fd_object);
	PyObject *list, *item;
	int err;

	(void)self;
	if (PyErr_Occurred())
		return NULL;
	err = wc_zygote_serve((int)fd, &hooks);
	if (err < 0)
		return fail(err);
	if (!err)
		Py_RETURN_NONE;
	list = PyList_New(0);
	for (char **at = environ; list && *at; at++) {
		item = PyBytes_FromString(*at);
		if (!item || PyList_Append(list, item)) {
			Py_XDECREF(item);
			Py_DECREF(list);
			return NULL;
		}
		Py_DECREF(item);
	}
	return list;
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
	{ "zygote_serve", zygote_serve, METH_O, "zygote_serve(fd) -> [b\"KEY=value\", ...] in an instance, or None" },
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
