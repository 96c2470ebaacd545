/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* order.c - see order.h. */
#include "user/order.h"

#include "runtimes/abi/sandbox.h"
#include "user/launch.h"
#include "user/sandboxes.h"
#include "user/secrets.h"
#include "user/watch.h"

#include <string.h>
#include <unistd.h>

#define FILES_MAX 1024

static const struct {
	const char *script; /* below the runtimes' folder */
	const char *addon;  /* without this file it can only use the socket, at twice the cost (docs/RUNTIMES.md) */
} runtime_table[WC_RUNTIME_COUNT] = {
	[WC_RUNTIME_NATIVE] = { "native/warmcore-native", NULL },
	[WC_RUNTIME_PYTHON] = { "python/warmcore_runtime.py", NULL },
	[WC_RUNTIME_NODE] = { "node/warmcore_runtime.js", "node/warmcore_channel.node" },
	[WC_RUNTIME_CUSTOM] = { "custom/warmcore-custom", NULL },
};

void wc_order_script(const struct wc_launcher *launcher, enum wc_runtime runtime, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", launcher->runtimes, runtime_table[runtime].script);
}

bool wc_order_needs_socket(const struct wc_launcher *launcher, enum wc_runtime runtime)
{
	char path[400];

	if (!runtime_table[runtime].addon)
		return false;
	snprintf(path, sizeof(path), "%s/%s", launcher->runtimes, runtime_table[runtime].addon);
	return access(path, R_OK) != 0;
}

__attribute__((format(printf, 2, 3))) static void add(struct wc_start_order *order, const char *format, ...)
{
	size_t room = sizeof(order->bytes) - order->length;
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(order->bytes + order->length, room, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= room)
		order->failed = true;
	else
		order->length += (size_t)length + 1;
}

static void add_argument(struct wc_start_order *order, const char *text)
{
	add(order, "%s", text);
	order->head.argc++;
}

#define add_variable(order, ...) (add(order, __VA_ARGS__), (order)->head.envc++)

/* What a function gets unless its manifest says otherwise. Of a name that is there twice, some programs take the first, some the last. */
static void add_default(struct wc_start_order *order, const struct wc_manifest *manifest, const char *name,
			const char *value)
{
	if (!json_object_get(manifest->environment, name))
		add_variable(order, "%s=%s", name, value);
}

static void fill_environment(struct wc_start_order *order, const struct wc_launcher *launcher,
			     const struct wc_instance *instance, bool socket)
{
	const struct wc_fn *fn = instance->fn;
	const char *key;
	json_t *value;

	add_default(order, &fn->manifest, "PATH", "/usr/local/bin:/usr/bin:/bin");
	add_default(order, &fn->manifest, "HOME", "/tmp");
	add_default(order, &fn->manifest, "LANG", "C.UTF-8");
	add_default(order, &fn->manifest, "PYTHONDONTWRITEBYTECODE", "1");
	/* One function, one core: more threads would only fight. */
	add_default(order, &fn->manifest, "OPENBLAS_NUM_THREADS", "1");
	add_default(order, &fn->manifest, "OMP_NUM_THREADS", "1");
	add_variable(order, "WARMCORE_CHANNEL=%s:%d", socket ? "socket" : "futex", WC_CHANNEL_FD);
	add_variable(order, "WARMCORE_NODE=%s", launcher->name);
	add_variable(order, "WARMCORE_FUNCTION=%s", fn->manifest.name);
	add_variable(order, "WARMCORE_HANDLER=%s", fn->manifest.handler);
	add_variable(order, "WARMCORE_CODE=%s", instance->sandbox ? WC_SANDBOX_CODE : fn->code);
	if (instance->sandbox) {
		add_variable(order, "WARMCORE_SECRETS=%s", WC_SANDBOX_SECRETS);
	} else {
		char secrets[500];

		wc_secrets_path(launcher->state_dir, fn->manifest.name, secrets, sizeof(secrets));
		add_variable(order, "WARMCORE_SECRETS=%s", secrets);
	}
	add_variable(order, "WARMCORE_EVENT=%s", fn->manifest.binary ? "binary" : "json");
	add_variable(order, "WARMCORE_TIMEOUT_MS=%u", fn->manifest.timeout_ms);
	add_variable(order, "WARMCORE_MEMORY_MB=%u", fn->manifest.memory_mb);
	add_variable(order, "WARMCORE_VERSION=%u", fn->published ?: fn->version);
	add_variable(order, "WARMCORE_CORE=%u", instance->core);
	json_object_foreach (fn->manifest.environment, key, value)
		add_variable(order, "%s=%s", key, json_string_value(value));
}

/* The first variable whose name begins with one of these (NULL at the end), or NULL. */
static const char *find_variable(const struct wc_manifest *manifest, const char *const *prefixes)
{
	const char *key;
	json_t *value;

	json_object_foreach (manifest->environment, key, value)
		for (size_t i = 0; prefixes[i]; i++)
			if (!strncmp(key, prefixes[i], strlen(prefixes[i])))
				return key;
	return NULL;
}

bool wc_order_needs_start(const struct wc_manifest *manifest)
{
	static const char *const prefixes[] = { "PYTHON", "OPENBLAS_", "OMP_",	   "MKL_", "MALLOC_", "GLIBC_", "LC_",
						"LANG",	  "NODE_",     "OPENSSL_", "SSL_", "UV_",     NULL };

	return find_variable(manifest, prefixes);
}

const char *wc_order_import_variable(const struct wc_manifest *manifest)
{
	/* Of what is common in Python. There is no telling what a library may look at: docs/RUNTIMES.md says what to do. */
	static const char *const prefixes[] = { "MPL",	   "NUMBA_",   "KMP_",	"GOMP_",  "GOTO_",   "BLIS_",
						"VECLIB_", "NUMEXPR_", "NPY_",	"NUMPY_", "SCIPY",   "PANDAS",
						"SKLEARN", "JOBLIB_",  "LOKY_", "TBB_",	  "ARROW_",  "PYARROW_",
						"TORCH",   "PYTORCH_", "TF_",	"CUDA_",  "XLA_",    "JAX_",
						"HF_",	   "GRPC_",    "GDAL_", "PROJ_",  "OPENCV_", "HOME",
						"XDG_",	   "TMPDIR",   NULL };

	return manifest->runtime == WC_RUNTIME_PYTHON && manifest->libraries[0] ? find_variable(manifest, prefixes) :
										  NULL;
}

const char *wc_order_libraries(const struct wc_manifest *manifest)
{
	return wc_order_import_variable(manifest) ? "" : manifest->libraries;
}

bool wc_order_needs_program(const struct wc_manifest *manifest)
{
	return manifest->runtime == WC_RUNTIME_NODE || manifest->runtime == WC_RUNTIME_CUSTOM ||
	       wc_order_needs_start(manifest);
}

static void fill_arguments(struct wc_start_order *order, const struct wc_launcher *launcher, enum wc_runtime runtime,
			   uint32_t memory_mb)
{
	char text[400];

	if (runtime == WC_RUNTIME_PYTHON) {
		add_argument(order, launcher->python);
		add_argument(order, "-s"); /* no packages of the user: its home is /tmp, where others can write */
	} else if (runtime == WC_RUNTIME_NODE) {
		snprintf(text, sizeof(text), "--max-old-space-size=%u", memory_mb);
		add_argument(order, launcher->node);
		add_argument(order, text);
	}
	wc_order_script(launcher, runtime, text, sizeof(text));
	add_argument(order, text);
}

static void begin(struct wc_start_order *order)
{
	memset(&order->head, 0, sizeof(order->head));
	order->length = sizeof(order->head);
	order->failed = false;
	order->head.magic = WC_ZYGOTE_MAGIC;
	order->head.files = FILES_MAX;
	order->head.processes = WC_PROCESSES_MAX;
}

int wc_order_instance(struct wc_start_order *order, const struct wc_launcher *launcher,
		      const struct wc_instance *instance, bool socket, struct wc_fault *fault)
{
	const struct wc_fn *fn = instance->fn;

	begin(order);
	order->head.uid = wc_uid_base(launcher->name) + fn->user;
	fill_arguments(order, launcher, fn->manifest.runtime, fn->manifest.memory_mb);
	order->environment = order->length;
	fill_environment(order, launcher, instance, socket);
	order->environment_end = order->length;
	add(order, "%s", instance->sandbox ? WC_SANDBOX_CODE : fn->code);
	if (order->failed || order->head.argc + order->head.envc > WC_ZYGOTE_STRINGS_MAX)
		return wc_fail(fault, E2BIG, "the environment of function %s is too large", fn->manifest.name);
	return 0;
}

int wc_order_compiler(struct wc_start_order *order, const struct wc_launcher *launcher, const struct wc_fn *fn,
		      bool sandbox, struct wc_fault *fault)
{
	const char *code = sandbox ? WC_SANDBOX_CODE : fn->code;
	char text[400];

	begin(order);
	order->head.flags |= WC_ZYGOTE_EXEC;
	order->head.uid = wc_uid_base(launcher->name) + fn->user;
	snprintf(text, sizeof(text), "%s/python/warmcore_compile.py", launcher->runtimes);
	add_argument(order, launcher->python);
	add_argument(order, "-I");
	add_argument(order, "-S");
	add_argument(order, text);
	add_argument(order, code);
	add_argument(order, fn->manifest.handler);
	add_variable(order, "PATH=/usr/local/bin:/usr/bin:/bin");
	add_variable(order, "HOME=/nonexistent");
	add_variable(order, "LANG=C.UTF-8");
	add_variable(order, "WARMCORE_NODE=%s", launcher->name);
	add(order, "%s", code);
	return order->failed ? wc_fail(fault, E2BIG, "the order for its compiler is too large") : 0;
}

void wc_order_spare(struct wc_start_order *order, const struct wc_launcher *launcher, uint32_t memory_mb)
{
	begin(order);
	order->head.flags |= WC_ZYGOTE_EXEC | WC_ZYGOTE_SPARE;
	fill_arguments(order, launcher, WC_RUNTIME_NODE, memory_mb);
	add_variable(order, "PATH=/usr/local/bin:/usr/bin:/bin");
	add_variable(order, "HOME=/nonexistent");
	add_variable(order, "LANG=C.UTF-8");
	add_variable(order, "WARMCORE_CHANNEL=futex:%d", WC_CHANNEL_FD);
	add_variable(order, "WARMCORE_SPARE=1");
	add(order, "/");
}

void wc_order_confine(struct wc_start_order *order, int fds[WC_ZYGOTE_FDS], const struct wc_launcher *launcher,
		      const struct wc_sandbox *sandbox)
{
	fds[WC_ZYGOTE_FD_SANDBOX] = sandbox ? sandbox->watch->pidfd : -1;
	fds[WC_ZYGOTE_FD_CGROUP] = sandbox ? sandbox->cgroup : -1;
	fds[WC_ZYGOTE_FD_RULES] = sandbox ? sandbox->rules : launcher->rules;
	for (int i = WC_ZYGOTE_FD_SANDBOX; i < WC_ZYGOTE_FDS; i++) {
		uint32_t flag = 1u << (8 + i);

		order->head.flags = fds[i] >= 0 ? order->head.flags | flag : order->head.flags & ~flag;
	}
}
