# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# make            build everything below build/
# make help       what else there is
#
# Everything is made by this one file; what it makes follows from which files exist (bpf/NAME.bpf.c, user/*.c, tools/*.c,
# tests/unit/test_NAME.c ...), so a new source file needs no change here. Includes are written from the root:
# #include "bpf/proto.h". Knobs: V=1 shows commands, BUILD=dir, PREFIX, DESTDIR, CC, CLANG, BPFTOOL, CFLAGS, LDFLAGS.

BUILD ?= build
# One spelling of the same folder: it is part of the flags, and other flags mean that everything is built again.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))
PREFIX ?= /usr/local
DESTDIR ?=
V ?= 0

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

.PHONY: all run test test-vm bench install uninstall format lint clean help
all: ## build the daemon, the command, the runtimes and the examples (default)

ifeq ($(V),0)
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(patsubst $(BUILD)/%,%,$@)';
else
Q :=
say =
endif

# --- tools ------------------------------------------------------------------------------------------------------------

# Goals that compile nothing need no compiler.
COMPILE := $(filter-out run test test-vm format lint clean help uninstall,$(or $(MAKECMDGOALS),all))

ifneq ($(COMPILE),)
missing = $(error $(1) is missing: run scripts/install-deps.sh as root)
CLANG := $(or $(CLANG),$(shell scripts/find-tool.sh clang),$(call missing,clang 16 or later))
BPFTOOL := $(or $(BPFTOOL),$(shell scripts/find-tool.sh bpftool),$(call missing,bpftool))
_ := $(or $(shell command -v $(CC)),$(call missing,a C compiler))

PACKAGES := libxdp libbpf libelf zlib jansson libnl-3.0 libnl-route-3.0 libseccomp libzip nettle sqlite3 yaml-0.1 libcurl
_ := $(or $(shell command -v pkg-config),$(call missing,pkg-config))
_ := $(foreach p,$(PACKAGES),$(or $(shell pkg-config --exists $(p) && echo yes),$(call missing,the library $(p))))
PACKAGE_CFLAGS := $(shell pkg-config --cflags $(PACKAGES))
PACKAGE_LIBS := $(shell pkg-config --libs $(PACKAGES))
# libevent serves HTTP to bootstraps (runtimes/custom).
_ := $(foreach p,libevent_core libevent_extra,$(or $(shell pkg-config --exists $(p) && echo yes),$(call missing,the library $(p))))
CUSTOM_LIBS := $(shell pkg-config --libs libevent_extra libevent_core jansson)
# h2o serves HTTP in the gateway (user/gateway).
_ := $(foreach p,libh2o-evloop openssl,$(or $(shell pkg-config --exists $(p) && echo yes),$(call missing,the library $(p))))
GATEWAY_LIBS := $(shell pkg-config --libs libh2o-evloop openssl)
# ncurses draws the screen of `warmcore top`.
_ := $(or $(shell pkg-config --exists ncursesw && echo yes),$(call missing,the library ncursesw))
CURSES_LIBS := $(shell pkg-config --libs ncursesw)
CMOCKA_LIBS := $(shell pkg-config --libs cmocka 2>/dev/null)
# Headers of the distribution's Python, for the optional extension.
PYTHON_CFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags python3 2>/dev/null))
endif

# --- flags ------------------------------------------------------------------------------------------------------------

VERSION := $(shell sed -n 's/^.define WC_VERSION_TEXT "\(.*\)"/\1/p' user/version.h 2>/dev/null)
ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m)))

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
BASE_FLAGS := -std=gnu11 -D_GNU_SOURCE -iquote . -iquote $(BUILD)/bpf -DWARMCORE_VERSION=\"$(VERSION)\" $(PACKAGE_CFLAGS)
HARDENING := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
	     $(if $(filter x86,$(ARCH)),-fcf-protection)
LDLIBS := $(PACKAGE_LIBS) -lpthread -ldl -lm
LINK := -Wl,-z,relro,-z,now -Wl,--as-needed

# A variant is a compiler and flags; objects of variant X are in build/X/.
COMPILE_obj = $(CC) $(BASE_FLAGS) $(WARNINGS) $(HARDENING) -fPIE $(CFLAGS)
COMPILE_pic = $(CC) $(BASE_FLAGS) $(WARNINGS) $(HARDENING) -fPIC $(CFLAGS)
# Sanitizers' own code makes gcc see variables as uninitialised that are not; the plain variant looks for those. -g1: functions and lines
# for what they print, and no more, which costs a sixth of the compilation; for a debugger there is the plain variant.
COMPILE_san = $(CC) $(BASE_FLAGS) $(WARNINGS) -Wno-maybe-uninitialized -fsanitize=address,undefined -fno-sanitize-recover=all \
	      -fno-omit-frame-pointer -O1 -g1
# -Wno-tsan: fences, which this sanitizer does not know, are used where a lock-free reader needs them
COMPILE_tsan = $(CC) $(BASE_FLAGS) $(WARNINGS) -fsanitize=thread -Wno-tsan -Wno-maybe-uninitialized -fno-omit-frame-pointer -O1 -g1
COMPILE_fuzz = $(CLANG) $(BASE_FLAGS) -Wall -Wextra -fsanitize=fuzzer-no-link,address,undefined \
	       -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g1
COMPILE_bpf = $(CLANG) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -std=gnu11 -Ivmlinux -iquote . \
	      -Wall -Wextra -Werror
LINK_obj = $(CC) -pie $(CFLAGS) $(LINK) $(LDFLAGS)
LINK_so = $(CC) -shared $(CFLAGS) $(LINK) $(LDFLAGS)
LINK_san = $(CC) -fsanitize=address,undefined
LINK_tsan = $(CC) -fsanitize=thread
LINK_fuzz = $(CLANG) -fsanitize=fuzzer,address,undefined
DEPS = -MMD -MP -MF $(@:.o=.d)

# --- sources ----------------------------------------------------------------------------------------------------------

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
TEST_BPF_SOURCES := $(wildcard tests/bpf/*.bpf.c)
GATEWAY_MAIN := $(wildcard user/gateway/main.c)
USER_SOURCES := $(filter-out user/main.c $(GATEWAY_MAIN),$(wildcard user/*.c user/gateway/*.c))
MAIN_SOURCE := $(wildcard user/main.c)
TOOL_SOURCES := $(wildcard tools/*.c)
# Parts of the command without its command line: tests and benchmarks are linked with them, too.
PART_SOURCES := $(wildcard tools/*/*.c)
UNIT_TESTS := $(wildcard tests/unit/test_*.c)
BPF_TESTS := $(wildcard tests/bpf/test_*.c)
FUZZ_TESTS := $(wildcard tests/fuzz/fuzz_*.c)
# Programs that the end-to-end tests and benchmarks use; the tests themselves are scripts.
HELPER_SOURCES := $(wildcard tests/e2e/*.c tests/vm/*.c tests/bench/bench_*.c runtimes/bench/*.c)
# Whatever else is in a test folder is linked into each test of that folder.
helpers = $(filter-out tests/$(1)/test_% tests/$(1)/fuzz_% tests/$(1)/bench_% %.bpf.c,$(wildcard tests/$(1)/*.c))

SKELETONS := $(BPF_SOURCES:bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
TEST_SKELETONS := $(TEST_BPF_SOURCES:tests/bpf/%.bpf.c=$(BUILD)/bpf/%.skel.h)
BPF_OBJECTS := $(BPF_SOURCES:%.c=$(BUILD)/%.o)
objects = $(patsubst %.c,$(BUILD)/$(1)/%.o,$(2))

RUNTIME_FOLDER := $(BUILD)/lib/warmcore
RUNTIMES := $(if $(wildcard runtimes/native/host.c),$(RUNTIME_FOLDER)/native/warmcore-native) \
	    $(RUNTIME_FOLDER)/sandbox/warmcore-sandbox \
	    $(if $(wildcard runtimes/custom/host.c),$(RUNTIME_FOLDER)/custom/warmcore-custom) \
	    $(if $(wildcard runtimes/native/channel.c),$(RUNTIME_FOLDER)/python/libwarmcore-channel.so) \
	    $(if $(and $(wildcard runtimes/python/warmcore_channel.c),$(PYTHON_CFLAGS)),\
		$(RUNTIME_FOLDER)/python/_warmcore_channel.abi3.so) \
	    $(if $(wildcard runtimes/node/warmcore_channel.c),$(RUNTIME_FOLDER)/node/warmcore_channel.node) \
	    $(patsubst runtimes/%,$(RUNTIME_FOLDER)/%,$(wildcard runtimes/python/*.py runtimes/node/*.js))

NATIVE_EXAMPLES := $(foreach d,$(wildcard runtimes/native/examples/*/),$(notdir $(d:/=)))
NATIVE_EXAMPLES := $(foreach n,$(NATIVE_EXAMPLES),$(if $(wildcard runtimes/native/examples/$(n)/$(n).c),$(n)))
EXAMPLE_OBJECTS := $(foreach n,$(NATIVE_EXAMPLES),$(BUILD)/examples/native/$(n)/$(n).so)
# Everything beside the sources, however deep: function.json, inputs, modules.
EXAMPLE_FILES := $(shell find runtimes/*/examples -type f ! -path '*/__pycache__/*' ! -path 'runtimes/native/*.[ch]' \
		 ! -name flags.mk ! -name '.*' 2>/dev/null)
EXAMPLES := $(EXAMPLE_OBJECTS) $(foreach f,$(EXAMPLE_FILES),$(BUILD)/examples/$(subst /examples/,/,$(f:runtimes/%=%)))

# The studies that come with `warmcore study`.
EXAMPLES += $(patsubst examples/%,$(BUILD)/examples/%,$(wildcard examples/studies/*.yaml))
$(BUILD)/examples/studies/%.yaml: examples/studies/%.yaml
	$(call say,COPY)install -D -m 644 $< $@

# Workflows: folders of functions, and what drives them. WORKFLOW/FUNCTION/FUNCTION.c is a native one.
WORKFLOW_FUNCTIONS := $(foreach f,$(wildcard examples/workflows/*/*/*.c),$(if $(filter %/$(basename $(notdir $(f)))/,$(dir $(f))),$(f:.c=)))
WORKFLOW_FILES := $(shell find examples/workflows -type f ! -path '*/__pycache__/*' ! -name '*.[ch]' ! -name '.*' 2>/dev/null)
EXAMPLES += $(WORKFLOW_FUNCTIONS:%=$(BUILD)/%.so) $(WORKFLOW_FILES:%=$(BUILD)/%)
$(BUILD)/pic/examples/%.o: BASE_FLAGS += -iquote runtimes/native
$(WORKFLOW_FUNCTIONS:%=$(BUILD)/%.so): $(BUILD)/%.so: $(BUILD)/pic/%.o
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_so) -o $@ $<
$(WORKFLOW_FILES:%=$(BUILD)/%): $(BUILD)/%: %
	$(call say,COPY)mkdir -p $(@D) && cp -p $< $@ && touch $@

# LDLIBS_NAME of an example that needs a library
-include $(wildcard runtimes/native/examples/*/flags.mk)

ARCHIVE := $(if $(USER_SOURCES),$(BUILD)/libwarmcore.a)
PARTS := $(BUILD)/obj/libparts.a
PROGRAMS := $(if $(GATEWAY_MAIN),$(BUILD)/bin/warmcore-gateway) $(if $(MAIN_SOURCE),$(BUILD)/bin/warmcored) $(if $(TOOL_SOURCES),$(BUILD)/bin/warmcore)
HELPERS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(patsubst runtimes/bench/%,tests/bench/%,$(HELPER_SOURCES)))
# Functions in C that the tests deploy: compiled here, and not by each node of each test; that takes six seconds in a VM.
FUNCTIONS := $(addprefix $(BUILD)/tests/e2e/functions/,bulk.so context.so gate.so known.so late_ready.so line.so pass.so probe.so relay.so state.so) $(BUILD)/tests/e2e/warmcored-next
BENCHES := $(filter $(BUILD)/tests/bench/%,$(HELPERS)) $(BUILD)/tests/bench/exit
TESTS := $(UNIT_TESTS:%.c=$(BUILD)/%) $(UNIT_TESTS:%.c=$(BUILD)/san/%) \
	 $(patsubst %.c,$(BUILD)/tsan/%,$(filter %_mt.c,$(UNIT_TESTS))) \
	 $(BPF_TESTS:%.c=$(BUILD)/%) $(FUZZ_TESTS:tests/fuzz/%.c=$(BUILD)/fuzz/%) $(HELPERS) $(FUNCTIONS)

all: $(BPF_OBJECTS) $(SKELETONS) $(ARCHIVE) $(PROGRAMS) $(RUNTIMES) $(EXAMPLES)

# --- rebuild when flags or the list of files change ---------------------------------------------------------------------

define FLAGS_TEXT
$(COMPILE_obj)
$(COMPILE_pic)
$(COMPILE_san)
$(COMPILE_tsan)
$(COMPILE_fuzz)
$(COMPILE_bpf)
$(BPFTOOL) $(LINK_obj) $(LDLIBS) $(PYTHON_CFLAGS)
endef

define FILES_TEXT
$(USER_SOURCES)
$(TOOL_SOURCES) $(PART_SOURCES)
$(call helpers,unit) $(call helpers,bpf) $(call helpers,fuzz) $(call helpers,bench)
endef

FLAGS := $(BUILD)/flags.stamp
FILES := $(BUILD)/files.stamp

.PHONY: FORCE
FORCE:
$(FLAGS) $(FILES): FORCE
	@$(shell mkdir -p $(@D))$(file >$@.new,$(if $(filter $(FLAGS),$@),$(FLAGS_TEXT),$(FILES_TEXT)))true
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# --- BPF: source, object, skeleton ------------------------------------------------------------------------------------

# The linker of bpftool drops DWARF and keeps BTF: nothing else is needed from LLVM than clang.
define BPF_OBJECT
$(BUILD)/bpf/%.bpf.o: $(1)/%.bpf.c $(FLAGS)
	$$(call say,BPF)mkdir -p $$(@D)
	$(Q)$$(COMPILE_bpf) -MMD -MP -MF $$(@:.o=.d) -MT $$@ -c $$< -o $$(@:.o=.full.o)
	$(Q)$(BPFTOOL) gen object $$@ $$(@:.o=.full.o)
endef
$(eval $(call BPF_OBJECT,bpf))
$(eval $(call BPF_OBJECT,tests/bpf))
.SECONDARY: $(TEST_SKELETONS:%.skel.h=%.bpf.o)

# bpftool 7.5 and later write skeletons for libbpf 1.5; an older libbpf has no `link` in its map skeleton.
OLD_LIBBPF = $(shell pkg-config --atleast-version=1.5 libbpf || echo yes)
$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL)$(BPFTOOL) gen skeleton $< name $*_bpf >$@
	$(if $(OLD_LIBBPF),$(Q)sed -i -e '/map->link = /d' -e 's/map_skel_sz = 32;/map_skel_sz = sizeof(*s->maps);/' $@)

# --- objects and archives, once per variant ---------------------------------------------------------------------------

# Only the daemon and the tests know skeletons. On a first build there are no .d files yet that would say which.
define VARIANT
$(BUILD)/$(1)/%.o: %.c $(FLAGS)
	$$(call say,$(2))mkdir -p $$(@D)
	$(Q)$$(COMPILE_$(1)) $$(DEPS) -c $$< -o $$@

$(BUILD)/$(1)/libwarmcore.a: $(call objects,$(1),$(USER_SOURCES)) $(FILES)
	$$(call say,AR)rm -f $$@ && $(AR) rcsD $$@ $$(filter %.o,$$^)

$(BUILD)/$(1)/libparts.a: $(call objects,$(1),$(PART_SOURCES)) $(FILES)
	$$(call say,AR)rm -f $$@ && $(AR) rcsD $$@ $$(filter %.o,$$^)

$(call objects,$(1),$(MAIN_SOURCE) $(GATEWAY_MAIN) $(USER_SOURCES) $(UNIT_TESTS) $(BPF_TESTS) $(FUZZ_TESTS) $(HELPER_SOURCES)): | $(SKELETONS)
$(call objects,$(1),$(BPF_TESTS) $(wildcard tests/bench/bench_*.c)): | $(TEST_SKELETONS)
endef

$(eval $(call VARIANT,obj,CC))
$(eval $(call VARIANT,pic,CC))
$(eval $(call VARIANT,san,CC))
$(eval $(call VARIANT,tsan,CC))
$(eval $(call VARIANT,fuzz,CC))

# The gateway's page is in it (user/gateway/page.c); the compiler does not see that.
$(foreach v,obj pic san tsan fuzz,$(BUILD)/$(v)/user/gateway/page.o): $(wildcard web/*)

$(BUILD)/libwarmcore.a: $(BUILD)/obj/libwarmcore.a
	$(call say,AR)cp $< $@

# --- programs ---------------------------------------------------------------------------------------------------------

$(BUILD)/bin/warmcored: $(call objects,obj,$(MAIN_SOURCE)) $(ARCHIVE)
$(BUILD)/bin/warmcore-gateway: $(call objects,obj,$(GATEWAY_MAIN)) $(ARCHIVE)
$(BUILD)/bin/warmcore-gateway $(BUILD)/tests/unit/test_gateway_http $(BUILD)/san/tests/unit/test_gateway_http: LDLIBS += $(GATEWAY_LIBS)
$(BUILD)/bin/warmcore: $(call objects,obj,$(TOOL_SOURCES)) $(PARTS) $(ARCHIVE) $(FILES)
$(BUILD)/bin/warmcore: LDLIBS += $(CURSES_LIBS)
# The daemon with other versions of the cluster's protocol, as its next version would have them (tests/e2e/test_rolling.py): one object is compiled anew.
$(BUILD)/next/cluster_protocol.o: user/cluster_protocol.c $(wildcard user/cluster_protocol.h user/error.h) $(FLAGS)
	$(call say,CC)mkdir -p $(@D)
	$(Q)$(COMPILE_obj) -DWC_PROTOCOL_FIRST=2 -DWC_PROTOCOL_LAST=3 -c -o $@ $<
$(BUILD)/tests/e2e/warmcored-next: $(BUILD)/next/cluster_protocol.o $(call objects,obj,$(MAIN_SOURCE)) $(ARCHIVE)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_obj) -o $@ $(filter %.o %.a,$^) $(LDLIBS)
$(BUILD)/bin/%:
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_obj) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

# --- runtimes and examples --------------------------------------------------------------------------------------------

CHANNEL := $(call objects,pic,runtimes/native/channel.c runtimes/native/line.c)

$(RUNTIME_FOLDER)/native/warmcore-native: $(call objects,obj,runtimes/native/host.c runtimes/native/channel.c runtimes/native/line.c runtimes/native/zygote.c)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_obj) -rdynamic -o $@ $^ -ldl

# Static: a sandbox has one process of it for as long as it lives, which shall be small.
$(RUNTIME_FOLDER)/sandbox/warmcore-sandbox: $(call objects,obj,runtimes/sandbox/maker.c runtimes/sandbox/init.c)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_obj) -static -no-pie -o $@ $^

$(RUNTIME_FOLDER)/custom/warmcore-custom: $(call objects,obj,$(wildcard runtimes/custom/*.c) runtimes/native/channel.c runtimes/native/line.c)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(LINK_obj) -o $@ $^ $(CUSTOM_LIBS) -lpthread

$(RUNTIME_FOLDER)/python/libwarmcore-channel.so: $(CHANNEL)
$(RUNTIME_FOLDER)/python/_warmcore_channel.abi3.so: $(call objects,pic,runtimes/python/warmcore_channel.c runtimes/native/zygote.c) $(CHANNEL)
$(RUNTIME_FOLDER)/node/warmcore_channel.node: $(call objects,pic,runtimes/node/warmcore_channel.c) $(CHANNEL)
define SHARED_OBJECT
$(RUNTIME_FOLDER)/%.$(1):
	$$(call say,LINK)mkdir -p $$(@D)
	$(Q)$$(LINK_so) -o $$@ $$^
endef
$(eval $(call SHARED_OBJECT,so))
$(eval $(call SHARED_OBJECT,node))

$(BUILD)/pic/runtimes/python/%.o: BASE_FLAGS += $(PYTHON_CFLAGS)

$(RUNTIME_FOLDER)/%: runtimes/%
	$(call say,COPY)install -D -m 644 $< $@

define NATIVE_EXAMPLE
$(BUILD)/examples/native/$(1)/$(1).so: $(call objects,pic,runtimes/native/examples/$(1)/$(1).c) \
		$(wildcard runtimes/native/examples/$(1)/flags.mk)
	$$(call say,LINK)mkdir -p $$(@D)
	$(Q)$$(LINK_so) -o $$@ $$(filter %.o,$$^) $$(LDLIBS_$(1))
endef
$(foreach n,$(NATIVE_EXAMPLES),$(eval $(call NATIVE_EXAMPLE,$(n))))

define EXAMPLE_FILE
$(BUILD)/examples/$(subst /examples/,/,$(1:runtimes/%=%)): $(1)
	$$(call say,COPY)mkdir -p $$(@D) && cp -p $$< $$@ && touch $$@
endef
$(foreach f,$(EXAMPLE_FILES),$(eval $(call EXAMPLE_FILE,$(f))))

# --- tests and benchmarks ---------------------------------------------------------------------------------------------

# $(1) variant, $(2) folder below tests/, $(3) where the programs go, $(4) libraries
define TEST_PROGRAMS
$(3)/%: $(BUILD)/$(1)/tests/$(2)/%.o $(call objects,$(1),$(call helpers,$(2))) $(BUILD)/$(1)/libparts.a $(BUILD)/$(1)/libwarmcore.a $(FILES)
	$$(call say,LINK)mkdir -p $$(@D)
	$(Q)$$(LINK_$(1)) -o $$@ $$(filter %.o %.a,$$^) $(4) $$(LDLIBS)
endef
$(eval $(call TEST_PROGRAMS,obj,unit,$(BUILD)/tests/unit,$(CMOCKA_LIBS)))
$(eval $(call TEST_PROGRAMS,san,unit,$(BUILD)/san/tests/unit,$(CMOCKA_LIBS)))
$(eval $(call TEST_PROGRAMS,tsan,unit,$(BUILD)/tsan/tests/unit,$(CMOCKA_LIBS)))
$(eval $(call TEST_PROGRAMS,obj,bpf,$(BUILD)/tests/bpf,$(CMOCKA_LIBS)))
$(eval $(call TEST_PROGRAMS,fuzz,fuzz,$(BUILD)/fuzz))

define HELPER_PROGRAM
$(BUILD)/tests/$(2): $(call objects,obj,$(1) $(if $(filter bench/bench_%,$(2)),$(call helpers,bench))) $(PARTS) $(ARCHIVE) $(FILES)
	$$(call say,LINK)mkdir -p $$(@D)
	$(Q)$$(LINK_obj) -o $$@ $$(filter %.o %.a,$$^) $$(LDLIBS)
endef
$(BUILD)/tests/vm/turns: $(call objects,obj,tests/bench/icount.c)
$(foreach s,$(HELPER_SOURCES),$(eval $(call HELPER_PROGRAM,$(s),$(patsubst runtimes/bench/%.c,bench/%,$(s:tests/%.c=%)))))

$(BUILD)/tests/e2e/functions/%.so: tests/e2e/functions/%.c $(wildcard runtimes/native/*.h runtimes/abi/*.h) $(FLAGS)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -shared -fPIC -fvisibility=hidden -Iruntimes/native -o $@ $<

$(BUILD)/tests/bench/exit: tests/bench/functions/exit.c $(FLAGS)
	$(call say,LINK)mkdir -p $(@D)
	$(Q)$(CC) $(WARNINGS) -O2 -static -o $@ $<

.PHONY: test-programs vm-programs bench-programs
test-programs: all $(TESTS)
vm-programs: all $(BPF_TESTS:%.c=$(BUILD)/%) $(HELPERS) $(FUNCTIONS)
bench-programs: all $(BENCHES) $(FUNCTIONS)

test: ## install what is missing, build and run all tests; T='unit fuzz_parse' runs those that match
	$(Q)scripts/install-deps.sh --group test
	$(Q)$(MAKE) --no-print-directory test-programs
	$(Q)WARMCORE_BUILD=$(abspath $(BUILD)) tests/run.sh $(T)

test-vm: ## only the tests in virtual machines: both kernels with sched_ext; T='smoke' runs those that match
	$(Q)scripts/install-deps.sh --group test
	$(Q)$(MAKE) --no-print-directory vm-programs
	$(Q)WARMCORE_BUILD=$(abspath $(BUILD)) tests/run.sh $(or $(T:%=vm/test_%),vm/)

run: ## install what is missing, build, deploy and invoke the examples
	$(Q)BUILD=$(BUILD) V=$(V) scripts/run.sh

bench: bench-programs ## run the benchmarks; BENCH=rtt runs one group
	$(Q)WARMCORE_BUILD=$(abspath $(BUILD)) scripts/bench.sh $(BENCH)

# --- install ----------------------------------------------------------------------------------------------------------

install: all ## install below PREFIX (/usr/local), with DESTDIR in front
	$(Q)BUILD="$(BUILD)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install-files.sh install

uninstall: ## remove what install put there
	$(Q)BUILD="$(BUILD)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" scripts/install-files.sh uninstall

# --- the rest ---------------------------------------------------------------------------------------------------------

format: ## rewrite the sources in the project's style
	$(Q)scripts/lint.sh --fix

lint: ## style, static analysis, licence lines, banned functions
	$(Q)BUILD=$(BUILD) scripts/lint.sh

clean: ## remove build/
	$(Q)rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

-include $(shell find $(addprefix $(BUILD)/,bpf obj pic san tsan fuzz) -name '*.d' 2>/dev/null)
