# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The process that runs one Python function: `def handler(event, context)`.

Started by the core agent with the environment that runtimes/abi/channel.h describes, or as a zygote (runtimes/abi/zygote.h).
Loads the function, says READY or INIT_ERROR, then serves one request at a time until SHUTDOWN. docs/RUNTIMES.md is the
author's view of it.
Python 3.9 or later; nothing but the standard library.
"""

import atexit
import errno
import gc
import json
import os
import signal
import struct
import sys
import time

import warmcore

READY, INIT_ERROR, REPLY, ERROR = 3, 4, 5, 6
INVOKE, SHUTDOWN, CALL, RESULT = 1, 2, 8, 9
FLAG_BINARY, FLAG_FAREWELL, FLAG_CONTEXT = 1, 2, 4
CAPACITY = 61440
LARGE, LARGE_AT = 6291456, 6356992  # WC_CHANNEL_LARGE, WC_CHANNEL_LARGE_AT
CONTEXT_AT, CONTEXT_ROOM = LARGE_AT + LARGE, 8192  # WC_CHANNEL_CONTEXT_AT, WC_CHANNEL_CONTEXT_ROOM
CALL_AT, CALL_SIZE = CONTEXT_AT + CONTEXT_ROOM, 256  # WC_CHANNEL_CALL_AT, sizeof(struct wc_channel_call): 32 bytes, and the name
RESULT_AT = CALL_AT + 4096 + LARGE  # WC_CHANNEL_RESULT_AT
FEATURES_AT, FEATURE_LARGE, ANSWER_MAX_AT = 8, 2, 100  # of struct wc_channel, and of the request in it
HEADER = struct.Struct("=IIIIQQ28xI")  # struct wc_message: sequence, kind, length, flags, request_id, deadline_ns, context
HEADER_SIZE = 64
assert HEADER.size == HEADER_SIZE

RUNTIME_FOLDER = os.path.dirname(os.path.abspath(__file__))
STACK_FRAMES_MAX = 64
NO_DEADLINE_MS = 2**31 - 1


# --- the channel: three ways to the same five calls -------------------------------------------------------------------
#
# next() -> (payload, request_id, deadline_ns, core + 1 or 0, context or None), or None when the instance shall exit
# answer(kind, flags, payload), ready(flags), init_error(payload): payload is bytes, at most CAPACITY; of a REPLY answer_max()
# call(how, number, name, payload) -> (flags, number, payload of the result), between next() and answer()


class SocketChannel:
    """socket:FD in plain Python: needs nothing built, costs two copies by the kernel."""

    def __init__(self, spec):
        self.fd = int(spec.partition(":")[2])
        os.set_inheritable(self.fd, False)
        os.set_blocking(self.fd, True)
        self.buffer = bytearray(HEADER_SIZE + CAPACITY + CONTEXT_ROOM + 1)  # the extra byte shows a datagram that is too long
        self.buffers = [self.buffer]
        self.view = memoryview(self.buffer)
        self.sequence = self.request_id = 0

    def _send(self, sequence, kind, flags, payload):
        head = HEADER.pack(sequence, kind, len(payload), flags, self.request_id, 0, 0)
        try:
            os.writev(self.fd, (head, payload))
        except (BrokenPipeError, ConnectionResetError):
            raise SystemExit(0) from None

    def ready(self, flags):
        self._send(0, READY, flags | FLAG_CONTEXT, b"")

    def init_error(self, payload):
        self._send(0, INIT_ERROR, 0, payload)

    def next(self):
        try:
            received = os.readv(self.fd, self.buffers)
        except ConnectionResetError:
            return None
        if not received:
            return None
        sequence, kind, length, core, request_id, deadline_ns, more = HEADER.unpack_from(self.buffer)
        if received != HEADER_SIZE + length + more or length > CAPACITY or kind not in (INVOKE, SHUTDOWN):
            raise OSError("the agent sent a malformed message")
        if kind == SHUTDOWN:
            return None
        self.sequence = sequence
        self.request_id = request_id
        end = HEADER_SIZE + length
        context = bytes(self.view[end : end + more]) if more else None
        return bytes(self.view[HEADER_SIZE:end]), request_id, deadline_ns, core, context

    def answer(self, kind, flags, payload):
        self._send(self.sequence, kind, flags, payload)

    def call(self, how, number, name, payload):
        name = name.encode()
        if len(name) >= CALL_SIZE - 32:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        if len(payload) > CAPACITY:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        head = HEADER.pack(self.sequence, CALL, len(payload), how, self.request_id, 0, 0)
        try:
            os.writev(self.fd, (head, struct.pack("=I28x", number) + name.ljust(CALL_SIZE - 32, b"\0"), payload))
            received = os.readv(self.fd, self.buffers)
        except (BrokenPipeError, ConnectionResetError):
            raise SystemExit(0) from None
        if not received:
            raise SystemExit(0)
        sequence, kind, length, flags, _, _, number = HEADER.unpack_from(self.buffer)
        if received != HEADER_SIZE + length or length > CAPACITY or kind != RESULT:
            raise OSError("the agent sent a malformed message")
        self.sequence = sequence
        return flags, number, bytes(self.view[HEADER_SIZE : HEADER_SIZE + length])

    def answer_max(self):
        return CAPACITY


class CtypesChannel:
    """futex:FD through libwarmcore-channel.so, for a Python that the extension was not built for."""

    def __init__(self, spec):
        import ctypes

        library = ctypes.CDLL(os.path.join(RUNTIME_FOLDER, "libwarmcore-channel.so"))
        client = ctypes.c_void_p()
        self._check(library.wc_client_open_spec(os.fsencode(spec), ctypes.byref(client)))
        self.client = client
        # The first field of struct wc_client is the address of struct wc_channel, whose layout is the ABI.
        address = ctypes.c_void_p.from_address(client.value).value
        features = ctypes.c_uint32.from_address(address + FEATURES_AT).value
        size = RESULT_AT + LARGE if features & FEATURE_LARGE else 3 * HEADER_SIZE + 2 * CAPACITY
        self.view = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
        self.request_at = 3 * HEADER_SIZE
        self.answer_at = self.request_at + CAPACITY
        self.answer_address = address + self.answer_at
        u32, pointer = ctypes.c_uint32, ctypes.c_void_p
        library.wc_client_allow_lines.argtypes = (pointer,)
        library.wc_client_ready.argtypes = (pointer, u32)
        library.wc_client_next.argtypes = (pointer,)
        library.wc_client_init_error.argtypes = (pointer, pointer, u32)
        library.wc_client_answer.argtypes = (pointer, u32, u32, pointer, u32)
        self.library = library
        library.wc_client_call.argtypes = (pointer, pointer, ctypes.c_char_p, u32, pointer)
        self._next = library.wc_client_next
        self._answer = library.wc_client_answer
        self._result = (ctypes.c_uint64 * 3)()  # struct wc_client_result: a pointer, length, flags, number, 4 bytes
        self._callee = (ctypes.c_uint64 * 2)()  # struct wc_client_callee: how and number, a pointer
        self._ctypes = ctypes

    @staticmethod
    def _check(result):
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def ready(self, flags):
        self.library.wc_client_allow_lines(self.client)
        self._check(self.library.wc_client_ready(self.client, flags))

    def init_error(self, payload):
        self.view[self.answer_at : self.answer_at + len(payload)] = payload
        self._check(self.library.wc_client_init_error(self.client, self.answer_address, len(payload)))

    def next(self):
        while True:
            result = self._next(self.client)
            if result > 0:
                break
            if result == 0:
                return None
            if result != -4:  # EINTR: Python has run the signal's handler by now
                self._check(result)
        _, _, length, core, request_id, deadline_ns, more = HEADER.unpack_from(self.view, HEADER_SIZE)
        at = self.request_at if length <= CAPACITY else LARGE_AT
        context = bytes(self.view[CONTEXT_AT : CONTEXT_AT + more]) if more else None
        return bytes(self.view[at : at + length]), request_id, deadline_ns, core, context

    def answer(self, kind, flags, payload):
        length = len(payload)
        self.view[self.answer_at : self.answer_at + length] = payload
        self._check(self._answer(self.client, kind, flags, self.answer_address, length))

    def call(self, how, number, name, payload):
        name = self._ctypes.create_string_buffer(name.encode())
        struct.pack_into("=IIQ", self._callee, 0, how, number, self._ctypes.addressof(name))
        self._check(self.library.wc_client_call(self.client, self._callee, payload, len(payload), self._result))
        address, length, flags, number = struct.unpack_from("=QIII", self._result)
        return flags, number, self._ctypes.string_at(address, length)

    def answer_max(self):
        return int.from_bytes(self.view[ANSWER_MAX_AT : ANSWER_MAX_AT + 4], sys.byteorder) or CAPACITY


def open_channel(environment):
    spec = environment.pop("WARMCORE_CHANNEL", "")
    transport = spec.partition(":")[0]
    if transport == "socket":
        return SocketChannel(spec)
    if transport != "futex":
        raise OSError("WARMCORE_CHANNEL is not futex:FD or socket:FD: only a warmcore agent can start this program")
    if environment.get("WARMCORE_PYTHON_CHANNEL") != "ctypes":  # the variable is for measurements and tests
        try:
            import _warmcore_channel

            _warmcore_channel.open(spec)
            return _warmcore_channel
        except ImportError:
            pass
    return CtypesChannel(spec)


# --- events and results -----------------------------------------------------------------------------------------------


class MarshalError(Exception):
    """The handler's result cannot be sent."""


def make_decoder():
    """bytes -> value. scan_once is what json.loads does after it has skipped white space; most events have none."""
    decoder = json.JSONDecoder()
    scan, decode = decoder.scan_once, decoder.decode

    def decode_event(payload):
        text = str(payload, "utf-8")
        try:
            value, end = scan(text, 0)
        except StopIteration:
            return decode(text)  # leading white space, or an error that says where
        return value if end == len(text) else decode(text)

    return decode_event


def make_encoder():
    """value -> bytes. json.dumps builds a new C encoder for each call; keep one where this Python lets us."""
    encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    encode = encoder.encode
    markers = {}  # of containers being encoded: finds circular references
    try:
        from json.encoder import c_make_encoder, encode_basestring

        kept = c_make_encoder(markers, encoder.default, encode_basestring, None, ":", ",", False, False, False)
        probe = {"a": [1, 2.5, None, True, "\u00e9\n"]}
        if "".join(kept(probe, 0)) == encode(probe):

            def encode(value):
                try:
                    return "".join(kept(value, 0))
                finally:
                    markers.clear()

    except (ImportError, TypeError):
        pass

    def encode_result(value):
        try:
            return encode(value).encode()
        except Exception as error:  # a __repr__ or an iterator of the author's may raise anything
            raise MarshalError("Unable to marshal response: %s" % error) from None

    return encode_result


def coder_parts():
    """What a function may have replaced while it was loaded, by whatever: JSONEncoder.default is what some do replace."""
    encoder, decoder = json.JSONEncoder, json.JSONDecoder
    return [
        getattr(of, name, None)
        for of, names in (
            (json, ("JSONEncoder", "JSONDecoder")),
            (json.encoder, ("c_make_encoder", "encode_basestring")),
            (json.decoder.scanner, ("make_scanner",)),
            (encoder, ("__init__", "default", "encode", "iterencode")),
            (decoder, ("__init__", "decode")),
        )
        for name in names
    ] + [dict(getattr(of.__init__, "__kwdefaults__", None) or {}) for of in (encoder, decoder)]


def coders():
    """Decoder and encoder. A zygote's instances have them from it, if they would make the same."""
    parts = coder_parts()
    if coders.parts != parts:
        coders.made = make_decoder(), make_encoder()
        coders.parts = parts
    return coders.made


coders.made = coders.parts = None


class Client:
    """context.client_context.client, as AWS has it."""

    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))


class ClientContext:
    """context.client_context: what the client sent along, as AWS has it."""

    __slots__ = ("custom", "env", "client")

    def __init__(self, values):
        self.custom, self.env = values.get("custom"), values.get("env")
        client = values.get("client")
        self.client = Client(client) if isinstance(client, dict) else None


def texts_of(block):
    """The four texts of runtimes/abi/context.h, None for each that is empty."""
    texts, at = [], 8
    for length in struct.unpack_from(">4H", block):
        texts.append(block[at : at + length].decode("utf-8", "replace") if length else None)
        at += length + 1
    return texts


class Context:
    """What AWS calls the Lambda context object, plus request_id, core and deadline_ms."""

    function_name = ""
    function_version = "$LATEST"
    invoked_function_arn = ""
    memory_limit_in_mb = "128"
    log_group_name = ""
    log_stream_name = ""
    identity = None
    client_context = None
    traceparent = tracestate = xray_trace_id = None
    core = -1
    timeout_ms = 0

    def __init__(self, request_id, deadline_ns, core=0, block=None):
        self.request_id = request_id
        self._deadline_ns = deadline_ns
        if core:  # an instance may have moved since it was started
            self.core = core - 1
        if block:
            self._take(block)

    def _take(self, block):
        client, self.traceparent, self.tracestate, self.xray_trace_id = texts_of(block)
        if self.xray_trace_id:  # as AWS's runtime does; serve() takes it away
            os.environ["_X_AMZN_TRACE_ID"] = self.xray_trace_id
        if client:
            try:
                values = json.loads(client)
            except (ValueError, RecursionError) as error:
                raise RuntimeFailure("Runtime.InvalidClientContext", "The client context is not valid JSON: %s" % error) from None
            self.client_context = ClientContext(values) if isinstance(values, dict) else None

    @classmethod
    def configure(cls, environment):
        cls.function_name = environment.get("WARMCORE_FUNCTION", "")
        cls.function_version = environment.get("WARMCORE_VERSION", "$LATEST")
        cls.invoked_function_arn = "arn:aws:lambda:local:000000000000:function:" + cls.function_name
        cls.memory_limit_in_mb = environment.get("WARMCORE_MEMORY_MB", "128")
        cls.core = int(environment.get("WARMCORE_CORE", "-1"))
        cls.timeout_ms = int(environment.get("WARMCORE_TIMEOUT_MS", "0"))
        cls.log_group_name = "/warmcore/" + cls.function_name
        cls.log_stream_name = "core-%d/%d" % (cls.core, os.getpid())

    @property
    def aws_request_id(self):
        return "00000000-0000-0000-%04x-%012x" % (self.request_id >> 48, self.request_id & 0xFFFFFFFFFFFF)

    @property
    def deadline_ms(self):
        """Unix time in milliseconds, as in Lambda-Runtime-Deadline-Ms; 0 = none."""
        return int(time.time() * 1000) + self.get_remaining_time_in_millis() if self._deadline_ns else 0

    def get_remaining_time_in_millis(self):
        if not self._deadline_ns:
            return NO_DEADLINE_MS
        return max(0, (self._deadline_ns - time.monotonic_ns()) // 1000000)

    def log(self, message):
        sys.stdout.write(str(message) + "\n")


# --- errors -----------------------------------------------------------------------------------------------------------


def text_of(error):
    try:
        return str(error)
    except Exception:
        return "<the exception's __str__ failed>"


def stack_of(traceback_object):
    """Lines as AWS Lambda sends them. Long stacks lose their middle."""
    import traceback

    frames = traceback.extract_tb(traceback_object)
    lines = frames.format()  # folds the repeats of a runaway recursion
    if len(lines) > STACK_FRAMES_MAX:
        half = STACK_FRAMES_MAX // 2
        lines[half:-half] = ["  ... %d frames left out ...\n" % (len(lines) - 2 * half)]
    return lines


def error_payload(error_type, message, stack=None):
    """A JSON error object that fits: the stack goes first, from its middle, then the end of the message."""
    stack = list(stack or ())
    while True:
        body = {"errorType": error_type, "errorMessage": message}
        if stack:
            body["stackTrace"] = stack
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(payload) <= CAPACITY:
            return payload
        if len(stack) > 2:
            del stack[len(stack) // 2]
        elif stack:
            stack = []
        else:
            error_type = error_type[:256]
            message = message[: len(message) // 2]


def log_error(error_type, message, stack=None):
    try:
        sys.stderr.write("[ERROR] %s: %s\n" % (error_type, message))
        if stack:
            sys.stderr.write("Traceback (most recent call last):\n%s" % "".join(stack))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # no log, or the function closed or replaced it


def flush_logs():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


# --- loading ----------------------------------------------------------------------------------------------------------


class RuntimeFailure(Exception):
    def __init__(self, error_type, message, stack=None):
        super().__init__(message)
        self.error_type = error_type
        self.stack = stack


def user_frames(traceback_object):
    """Skip the frames of this file and of the import machinery above the author's first one."""
    while traceback_object is not None:
        name = traceback_object.tb_frame.f_code.co_filename
        if name != __file__ and "importlib" not in name:
            return traceback_object
        traceback_object = traceback_object.tb_next
    return None


def load_handler(code, handler):
    import importlib

    module_name, dot, function_name = handler.rpartition(".")
    module_name = module_name.replace("/", ".")
    if not dot or not module_name or not function_name or module_name.startswith("."):
        raise RuntimeFailure("Runtime.MalformedHandlerName", "Bad handler '%s': expected \"file.function\"" % handler)
    sys.path[0] = code  # was the runtime's own folder
    top = module_name.partition(".")[0]
    known = sys.modules.get(top)
    if known is not None and not (getattr(known, "__file__", None) or "").startswith(code + os.sep):
        if os.path.exists(os.path.join(code, top + ".py")) or os.path.isdir(os.path.join(code, top)):
            del sys.modules[top]  # the zygote has the standard library's module of that name; the handler's own is meant
    try:
        module = importlib.import_module(module_name)
    except SyntaxError as error:
        where = '  File "%s" Line %s\n    %s\n' % (error.filename, error.lineno, (error.text or "").rstrip())
        raise RuntimeFailure(
            "Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module_name, error), [where]
        ) from None
    except ImportError as error:
        raise RuntimeFailure(
            "Runtime.ImportModuleError",
            "Unable to import module '%s': %s" % (module_name, error),
            stack_of(user_frames(error.__traceback__)),
        ) from None
    except SystemExit:
        raise
    except BaseException as error:
        stack = stack_of(user_frames(error.__traceback__))
        raise RuntimeFailure(type(error).__name__, text_of(error), stack) from None
    function = getattr(module, function_name, None)
    load_handler.shutdown = getattr(module, "shutdown", None)
    if not callable(load_handler.shutdown) or load_handler.shutdown is function:
        load_handler.shutdown = None
    if not callable(function):
        message = "Handler '%s' missing on module '%s'" % (function_name, module_name)
        raise RuntimeFailure("Runtime.HandlerNotFound", message)
    return function


# --- serving ----------------------------------------------------------------------------------------------------------


def bytes_of(result):
    """A binary function's result as bytes: a string, or whatever has the buffer protocol. None: it has not."""
    if isinstance(result, str):
        return result.encode()
    if result is None:
        return b""
    try:
        return memoryview(result).tobytes()
    except (TypeError, ValueError, BufferError):
        return None


def serve(channel, handler, binary):
    decode, encode = coders()
    wait, answer = channel.next, channel.answer
    host = warmcore._Host
    host.channel, host.encode, host.decode = channel, encode, decode
    while True:
        request = wait()
        if request is None:
            return
        payload, request_id, deadline_ns, core, context = request
        kind, flags = REPLY, 0
        warmcore._begin()
        try:
            if binary:
                event = payload
            elif payload:
                try:
                    event = decode(payload)
                except (ValueError, RecursionError) as error:
                    raise RuntimeFailure("Runtime.InvalidEvent", "The event is not valid JSON: %s" % error) from None
            else:
                event = {}
            result = handler(event, Context(request_id, deadline_ns, core, context))
            if isinstance(result, (bytes, bytearray, memoryview)):
                reply, flags = bytes(result), FLAG_BINARY
            elif binary:
                reply = bytes_of(result)
                if reply is None:
                    reply = encode(result)
                else:
                    flags = FLAG_BINARY
            else:
                reply = encode(result)
            if len(reply) > CAPACITY and len(reply) > channel.answer_max():
                raise RuntimeFailure(
                    "Runtime.ResponseTooLarge",
                    "The response is %d bytes, the limit is %d bytes" % (len(reply), channel.answer_max()),
                )
        except SystemExit:
            raise  # the process ends; the agent answers for it
        except RuntimeFailure as error:
            kind, flags, reply = ERROR, 0, error_payload(error.error_type, text_of(error))
            log_error(error.error_type, text_of(error))
        except MarshalError as error:
            kind, flags, reply = ERROR, 0, error_payload("Runtime.MarshalError", text_of(error))
            log_error("Runtime.MarshalError", text_of(error))
        except BaseException as error:
            name, message = type(error).__name__, text_of(error)
            stack = stack_of(user_frames(error.__traceback__))
            kind, flags, reply = ERROR, 0, error_payload(name, message, stack)
            log_error(name, message, stack)
        flush_logs()  # the log is complete before the reply is out
        warmcore._end()
        if context:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        answer(kind, flags, reply)
        # Let go before the next wait: an instance may stay idle for minutes.
        request = payload = event = result = reply = context = None


# --- the zygote -------------------------------------------------------------------------------------------------------


def import_libraries(names):
    """What functions will import anyhow. A name that this host has not is their concern: they get the ImportError."""
    import importlib
    import linecache  # noqa: F401: what an error needs
    import traceback  # noqa: F401

    for name in names.split(","):
        if name:
            try:
                importlib.import_module(name)
            except BaseException as error:  # a SystemExit, too: nothing that is imported ends a zygote
                sys.stderr.write("zygote: cannot import %s: %s: %s\n" % (name, type(error).__name__, text_of(error)))
    flush_logs()


def reseed():
    """Python's own generator does it by itself after a fork; numpy's global one would repeat itself in each instance."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()


def set_environment(pairs):
    """os.environ becomes what the C library has already. In one go where this Python keeps its bytes in a dict, as it has since 3.2."""
    if isinstance(getattr(os.environ, "_data", None), dict):
        os.environ._data = os.environb._data = pairs
        return
    os.environ.clear()
    for name, value in pairs.items():
        os.environb[name] = value


def rehearse():
    """Load and call a function, so that what Python makes on first use is made, once, before the fork."""
    path = sys.path[0]
    handler = load_handler(RUNTIME_FOLDER, "warmcore_rehearsal.handler")
    decode, encode = coders()
    encode(handler(decode(b'{"values": [1, 2.5, null, "text"]}'), Context(1, 1)))
    del sys.modules["warmcore_rehearsal"]
    sys.path[0] = path


def know_folder(folder):
    """
    Where code is in each sandbox: what imports from there is made before the fork. Else each instance asks the makers in sys.path_hooks,
    zipimport first. Only where they make of another folder what they make of all in every Python: a library may have put its own in front.
    """
    from importlib import machinery

    if type(sys.path_importer_cache.get(RUNTIME_FOLDER)) is machinery.FileFinder:
        sys.path_importer_cache[folder] = machinery.FileFinder(
            folder,
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )


def be_zygote(fd):
    """
    Serve forks. The environment of this instance, as texts, or None: the daemon wants no more.
    An instance copies each page that it writes to, and Python writes to what it reads, too: so as little as possible is left to be done there.
    """
    import _warmcore_channel

    _warmcore_channel.zygote_prepare()
    import_libraries(os.environ.get("WARMCORE_LIBRARIES", ""))
    rehearse()
    know_folder("/var/task")  # WC_SANDBOX_CODE
    exit_on_sigterm()  # again: a library may have taken it back
    zone = os.environb.get(b"TZ")
    gc.collect()
    gc.freeze()  # a collection in an instance would write to every object's page
    environment = _warmcore_channel.zygote_serve(fd)
    if environment is None:
        return None
    pairs, texts = environment
    set_environment(pairs)
    if pairs.get(b"TZ") != zone:
        time.tzset()
    reseed()
    return texts


def count_exit_handlers():
    """How many atexit has; 0 where this Python does not tell."""
    return getattr(atexit, "_ncallbacks", int)()


def say_farewell(shutdown):
    """The instance is not needed any more. What atexit has runs after this, when the interpreter ends."""
    try:
        if shutdown is not None:
            shutdown()
    except Exception as error:
        log_error(type(error).__name__, text_of(error), stack_of(user_frames(error.__traceback__)))
    flush_logs()


def exit_on_sigterm():
    """
    By a handler in C where that is possible. One in Python may be called just before a system call that then waits for ever, in a
    process that the function forks, too: multiprocessing.Pool waited for such a worker.
    """
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return  # a library that a zygote has imported knows better
    try:
        import _warmcore_channel

        _warmcore_channel.exit_on_sigterm()
    except ImportError:
        signal.signal(signal.SIGTERM, lambda signo, frame: os._exit(0))


def prepare():
    """What an instance needs before it has a function, and a zygote can have done for it."""
    # One core an invocation: thread pools of numerical libraries would only take turns on it.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    exit_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # a crash loses at most a line


def serve_lambda():
    """Functions call others with AWS's SDK. Before the function is loaded: most make their client then."""
    try:
        import warmcore_lambda

        warmcore_lambda.serve()
    except (OSError, RuntimeError) as error:
        raise RuntimeFailure("Runtime.StartError", "AWS_ENDPOINT_URL_LAMBDA=warmcore: cannot serve Invoke on 127.0.0.1: %s" % error) from None


def main():
    prepare()
    environment = os.environ
    if environment.get("WARMCORE_ZYGOTE"):
        try:
            environment = be_zygote(int(environment["WARMCORE_ZYGOTE"]))
            if environment is None:
                return 0
        except (OSError, ImportError) as error:
            sys.stderr.write("warmcore_runtime.py: no zygote: %s\n" % error)
            return 2
    try:
        channel = open_channel(environment)
    except OSError as error:
        sys.stderr.write("warmcore_runtime.py: no channel: %s\n" % error)
        return 2
    Context.configure(environment)
    exit_handlers = count_exit_handlers()
    try:
        if environment.get("AWS_ENDPOINT_URL_LAMBDA") == "warmcore":
            serve_lambda()
        handler = load_handler(environment.get("WARMCORE_CODE", "."), environment.get("WARMCORE_HANDLER", ""))
    except RuntimeFailure as error:
        log_error(error.error_type, text_of(error), error.stack)
        flush_logs()
        channel.init_error(error_payload(error.error_type, text_of(error), error.stack))
        return 1
    flush_logs()
    # What is loaded stays loaded: keep the collector from walking it for ever, and its pages shared after a fork.
    gc.collect()
    gc.freeze()
    shutdown = load_handler.shutdown
    channel.ready(FLAG_FAREWELL if shutdown or count_exit_handlers() > exit_handlers else 0)
    serve(channel, handler, environment.get("WARMCORE_EVENT") == "binary")
    say_farewell(shutdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
