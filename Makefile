# Touchline. `make help` lists the targets; new .c files need no edit here.

VERSION      := 0.1.0
PREFIX       ?= /usr/local
FUZZ_SECONDS ?= 60
JOBS         ?= $(shell nproc)

# One tree of objects per variant: build, build/asan, build/tsan, build/fuzz.
VARIANT ?=
B       := build$(addprefix /,$(VARIANT))

CC      := gcc
WARN    := -Wall -Wextra -Wshadow -Wconversion -Werror
MODE    := -O2
# As Debian hardens what it ships; sanitizers bring their own checks.
HARDEN  := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
           -fPIE -Wformat -Wformat-security
PIE     := -pie
ifeq ($(VARIANT),asan)
MODE    := -O1 -DDEBUG -fno-omit-frame-pointer -fno-sanitize-recover=all \
           -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
MODE    := -O1 -DDEBUG -fno-omit-frame-pointer -fsanitize=thread
else ifeq ($(VARIANT),fuzz)
CC      := clang
WARN    += -Wno-string-conversion
MODE    := -O1 -DDEBUG -fno-omit-frame-pointer -fno-sanitize-recover=all \
           -fsanitize=fuzzer-no-link,address,undefined
else ifneq ($(VARIANT),)
$(error VARIANT is one of asan, tsan, fuzz, or nothing)
endif
ifneq ($(VARIANT),)
HARDEN  :=
PIE     :=
endif
# The sanitizers' code leads gcc's flow analysis astray.
ifneq ($(filter asan tsan,$(VARIANT)),)
WARN    += -Wno-format-truncation -Wno-stringop-truncation \
           -Wno-maybe-uninitialized
endif

CPPFLAGS := -D_GNU_SOURCE -DTOUCHLINE_VERSION='"$(VERSION)"' \
            -iquote . -iquote proto -DFRAME_VERSION_STEP=0
CFLAGS   := -std=c11 -g $(MODE) $(HARDEN) $(WARN) -pthread
LDFLAGS  := $(MODE) $(PIE) -pthread -rdynamic -Wl,--as-needed \
            -Wl,-z,relro,-z,now,-z,noexecstack
LDLIBS   := -levent_core -lnng -lsqlite3 -lcjson -lxxhash -lz -lseccomp -ledit -lm

# `make V=1` shows the commands.
Q := $(if $V,,@)

# --- folders: one library each; an upward call does not link ---------------

sources = $(filter-out %/main.c tests/t/fake_%.c,\
              $(wildcard $(foreach d,$1,$d/*.c $d/*.S)))
objects = $(patsubst %,$B/%.o,$(call sources,$1))
libs    = $(foreach l,$1,$B/lib$l.a)

define library # name, folders
$B/lib$1.a: $$(call objects,$2)
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
endef

$(eval $(call library,base,proto/base))
$(eval $(call library,proto,proto))
$(eval $(call library,store,store))
$(eval $(call library,router,router router/types))
$(eval $(call library,gateway,gateways/common))
$(eval $(call library,http,gateways/http))
$(eval $(call library,tcp,gateways/tcp))
$(eval $(call library,ws,gateways/ws))
$(eval $(call library,repeater,router/repeater))
$(eval $(call library,touchline,tools/touchline))
$(eval $(call library,router-ctl,tools/router-ctl))
$(eval $(call library,flood,tools/flood))
$(eval $(call library,t,tests/t))

# --- binaries: a rule for each main.c that exists --------------------------

define binary # name, folder of main.c, libraries from the top layer down
ifneq ($(wildcard $2/main.c),)
BINARIES += $B/bin/$1
$B/bin/$1: $B/$2/main.c.o $(call libs,$3 proto base)
	@mkdir -p $$(@D) && echo '  link $$@'
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endif
endef

BINARIES :=
$(eval $(call binary,touchline,tools/touchline,touchline))
$(eval $(call binary,touchline-router,router,router store))
$(eval $(call binary,touchline-http,gateways/http,http gateway))
$(eval $(call binary,touchline-tcp,gateways/tcp,tcp gateway))
$(eval $(call binary,touchline-ws,gateways/ws,ws gateway))
$(eval $(call binary,touchline-repeater,router/repeater,repeater))
$(eval $(call binary,router-ctl,tools/router-ctl,router-ctl))
$(eval $(call binary,touchline-flood,tools/flood,flood))

# --- tests: tests/FOLDER/X_test.c, linked with that folder's libraries -----

LIBS_proto    := proto base
LIBS_store    := store base
LIBS_router   := router store proto base
LIBS_repeater := repeater router store proto base
LIBS_gateways := http tcp ws gateway proto base
LIBS_chaos    := proto base
LIBS_tools    := router-ctl flood touchline proto base
LIBS_count_gateway := http tcp ws gateway proto base
LIBS_count_router  := router store proto base
LIBS_count_store   := store proto base
LIBS_every    := router-ctl flood touchline http tcp ws gateway repeater router \
                 store \
                 proto base

comma := ,
TESTS := $(patsubst %.c,$B/%,$(wildcard tests/*/*_test.c))
FUZZ  := $(patsubst %.c,$B/%,$(wildcard tests/fuzz/*_fuzz.c))
BENCH := $(patsubst %.c,$B/%,$(wildcard tests/bench/*_bench.c))
COUNT := $(patsubst %.c,$B/%,$(wildcard tests/bench/count_*.c))
# Programs of the chaos tests: tests/chaos/X_main.c.
CHAOS := $(patsubst %_main.c,$B/%,$(wildcard tests/chaos/*_main.c))
WRAP  := $(addprefix -Wl$(comma)--wrap=,\
             malloc calloc realloc reallocarray memalign strdup)

.SECONDEXPANSION:
folder  = $(notdir $(patsubst %/,%,$(dir $1)))
helpers = $(patsubst %,$B/%.o,$(filter-out %_test.c %_fuzz.c %_bench.c \
              %_main.c,\
              $(wildcard $(patsubst $B/%,%,$(dir $1))*.c)))
# A fake takes the place of the real thing in the tests that include it.
FAKES  := $(patsubst %,$B/%.o,$(wildcard tests/t/fake_*.c))
FAKED  := $(shell grep -l '"tests/t/fake_' tests/*/*_test.c \
              tests/fuzz/*_fuzz.c 2>/dev/null)
fakes   = $(if $(filter $(patsubst $B/%,%.c,$1),$(FAKED)),$(FAKES))
layers  = $(call libs,$(or $(LIBS_$(call folder,$1)),$(LIBS_every)))

$(TESTS): %: %.c.o $$(call helpers,$$@) $$(call fakes,$$@) $B/libt.a \
              $$(call layers,$$@)
	$(Q)$(CC) $(LDFLAGS) $(WRAP) -o $@ $^ $(LDLIBS)

$(FUZZ): %: %.c.o $$(call helpers,$$@) $$(call fakes,$$@) $$(call layers,$$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(BENCH): %: %.c.o $$(call layers,$$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# What is counted does the same each time: no NNG, no chance.
COUNT_WITH := $(patsubst %,$B/tests/bench/%.c.o,count link_ends memory_bus)
$(COUNT): $B/tests/bench/count_%: $B/tests/bench/count_%.c.o $(COUNT_WITH) \
              $$(call libs,$$(LIBS_count_$$*))
	$(Q)$(CC) $(LDFLAGS) $(addprefix -Wl$(comma)--wrap=,random_u64 \
	    random_bytes) -o $@ $^ $(LDLIBS)

$(CHAOS): %: %_main.c.o $$(call helpers,$$@) $$(call layers,$$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Programs that speak the next version of the link: what says it is compiled
# anew, and the libraries have the rest.
NEXT     := $B/next
NEXT_OF  := $(shell grep -l FRAME_VERSION proto/*.c)
NEXT_BIN := $(addprefix $(NEXT)/bin/,router-ctl \
                $(addprefix touchline-,router repeater http tcp ws))
$(NEXT)/%.c.o: %.c Makefile | deps-build
	@mkdir -p $(@D) && echo '  cc   $< (next)'
	$(Q)$(CC) $(CPPFLAGS) -UFRAME_VERSION_STEP \
	    -DFRAME_VERSION_STEP=1 $(CFLAGS) -MMD -MP -c -o $@ $<

define next # name, folder of main.c, libraries from the top layer down
$(NEXT)/bin/$1: $B/$2/main.c.o $(patsubst %,$(NEXT)/%.o,$(NEXT_OF)) \
        $(call libs,$3 proto base)
	@mkdir -p $$(@D) && echo '  link $$@'
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef

$(eval $(call next,touchline-router,router,router store))
$(eval $(call next,touchline-http,gateways/http,http gateway))
$(eval $(call next,touchline-tcp,gateways/tcp,tcp gateway))
$(eval $(call next,touchline-ws,gateways/ws,ws gateway))
$(eval $(call next,touchline-repeater,router/repeater,repeater))
$(eval $(call next,router-ctl,tools/router-ctl,router-ctl))

# What system tests load in front of the C library, to make it fail.
INJECT := build/tests/chaos/inject.so
$(INJECT): tests/chaos/preload/inject.c tests/chaos/preload/inject.h Makefile
	@mkdir -p $(@D) && echo '  link $@'
	$(Q)gcc -D_GNU_SOURCE -iquote . -std=c11 -g -O2 $(WARN) -fPIC -shared \
	    -pthread -o $@ $<

# --- objects: headers are tracked by the compiler, what a .S embeds here ---
# What compiling needs is there, or has been installed, before the first one.

$B/%.c.o: %.c Makefile | deps-build
	@mkdir -p $(@D) && echo '  cc   $<'
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

PAGES := $(wildcard gateways/http/pages/*)
.SECONDARY: $(PAGES:%=$B/%.gz)
$B/gateways/http/pages/%.gz: gateways/http/pages/%
	@mkdir -p $(@D)
	$(Q)gzip -9 -n -c $< >$@

# Pages of others load one file: the client, and behind it the element.
EMBED := $B/gateways/http/pages/touchline-match.js
$(EMBED): $(addprefix gateways/http/pages/,touchline.js match.js)
	@mkdir -p $(@D)
	$(Q)cat $^ >$@
$(EMBED).gz: $(EMBED)
	$(Q)gzip -9 -n -c $< >$@

FRONT := $B/gateways/http/pages/front
$(FRONT).head: tools/front-page.sh $(PAGES)
	@mkdir -p $(@D)
	$(Q)$< gateways/http/pages $(FRONT)

$B/%.S.o: %.S Makefile $(PAGES) $(PAGES:%=$B/%.gz) \
    $(EMBED) $(EMBED).gz $(FRONT).head | deps-build
	@mkdir -p $(@D) && echo '  as   $<'
	$(Q)$(CC) -I. -Wa,-I$B -c -o $@ $<

-include $(shell find $B -name '*.d' -type f 2>/dev/null)

# --- targets ---------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all help deps deps-build deps-test run test unit asan tsan fuzz \
        fuzz-long js layers system pages hostile differential power chaos soak \
        chaos-peers bench bench-stages bench-comet bench-peers bench-repeater \
        bench-quick bench-count docs install install-only npm deb deb-test \
        deps-package clean

all: deps-build $(BINARIES) $B/print-options ## build everything into build/bin
	@echo "built: $(or $(strip $(BINARIES)),nothing yet)"

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

deps: deps-build deps-test
deps-build: ## look for what building needs; install what is missing
	@tools/deps.sh build
deps-test: ## the same for what testing needs on top
	@tools/deps.sh build test package bench

run: deps-build ## start everything in build/demo, with a match to watch
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@tools/demo.sh

test: deps-test ## all of what follows; ends in "N passed, N failed"
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-3} \
	    tests/run.sh layers unit js asan fuzz bench-count system

unit: ## the unit tests; one that does not build keeps no other from running
	@$(MAKE) -kj$(JOBS) --no-print-directory VARIANT=$(VARIANT) $(TESTS); \
	 built=$$?; \
	 tests/run.sh --unit $(TESTS) && exit $$built

asan: ## the unit tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory VARIANT=asan unit

tsan: ## the unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory VARIANT=tsan unit

ifeq ($(VARIANT),fuzz)
fuzz: $(FUZZ)
	@tests/run.sh --fuzz $(FUZZ_SECONDS) $(FUZZ)
else
fuzz: ## each parser's fuzz target for FUZZ_SECONDS (60; 3 within `test`)
	@$(MAKE) -j$(JOBS) --no-print-directory VARIANT=fuzz fuzz
endif

fuzz-long: ## each of them for half an hour; hours
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=1800

js: ## the browser's client, in node
	@tests/run.sh --js

layers: ## who includes whom, and whose words the core speaks
	@tools/check-layers.sh

system: deps-build ## whole processes over real sockets
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES) $B/print-options \
	    $(INJECT) $(NEXT_BIN) $(CHAOS) $(COUNT)
	@python3 tests/system/run.py

pages: deps-test ## every page, and those of others, in Chromium at a phone's width and a desk's; minutes
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@python3 tests/system/run.py --pages

differential: all ## what we and node's HTTP server make of the same bytes
	@python3 tests/system/http_differential.py

hostile: deps-test ## what strangers may try, in full size; T=T7: one threat
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES) $(INJECT) $(NEXT_BIN) \
	    $(CHAOS)
	@MAKE="$(MAKE)" python3 tests/hostile/run.py $(T)

hostile-%:
	@$(MAKE) --no-print-directory hostile T=$*

power: ## every moment at which the power may go, in every way; minutes
	@$(MAKE) -sj$(JOBS) --no-print-directory $B/tests/store/power_test
	@T_DEADLINE=3600 TOUCHLINE_HOSTILE=full $B/tests/store/power_test

chaos: deps-test ## break it under load for CHAOS_SECONDS (240); CHAOS_SEED= repeats
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES) $(INJECT) $(CHAOS)
	@exec python3 tests/chaos/chaos.py --seconds $${CHAOS_SECONDS:-240} \
	    --within $$(($${CHAOS_SECONDS:-240} + 110))

# PRESET=metabrew2 breaks nothing: what bench-comet does, for a day.
ifeq ($(PRESET),metabrew2)
soak: deps-build
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@exec python3 tests/bench/comet.py --hours $${HOURS:-24} \
	    --out $${OUT:-build/bench/soak}
else ifeq ($(PRESET),)
soak: deps-test ## the same for hours (8), a line a minute; Ctrl-C ends it with its sum; PRESET=metabrew2: the comet tables for a day (HOURS=24)
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES) $(INJECT) $(CHAOS)
	@exec python3 tests/chaos/chaos.py --soak
else
soak:
	$(error PRESET is metabrew2, or nothing)
endif

chaos-peers: deps-build ## Nchan and Mosquitto under the same faults, beside us; minutes
	@tools/deps.sh chaos_peers
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES) $(CHAOS)
	@python3 tests/chaos/peers/run.py

bench: all $(BENCH) ## measure memory, latency, fan-out, store, link
	@tests/bench/run.py $(BENCH)

bench-stages: deps-build ## the stage sheet; STAGES_N=1K is a small one, ARGS="--help" says more
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@exec python3 tests/bench/stages.py $(ARGS)

bench-comet: deps-build ## memory of 10K clients under 1,000 messages a second; CLIENTS=100K MINUTES=20
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@exec python3 tests/bench/comet.py $(ARGS)

bench-peers: deps-build ## the same work on Nchan, NATS, Redis, Mosquitto and us; half an hour
	-@tools/deps.sh bench_peers
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@exec python3 tests/bench/compare/run.py $(if $(PEERS),--only $(PEERS)) \
	    $(if $(ROWS),--rows $(ROWS))

bench-repeater: all ## calls and bytes of the router per message, flat and behind repeaters
	@tests/bench/repeater.py

bench-quick: ## measures beside the limit, in three minutes; JSON=1 CLIENTS=100K ONLY=killed
	@tools/deps.sh build bench
	@$(MAKE) -sj$(JOBS) --no-print-directory $(BINARIES)
	@exec python3 tests/bench/quick.py $(if $(JSON),--json) $(if $(ONLY),--only $(ONLY)) \
	    $(if $(CLIENTS),--connections $(CLIENTS))

# Whoever makes one dearer says so in the same commit; RECORD=1 writes it down.
bench-count: ## instructions of the hot paths, against tests/bench/counts.txt; RECORD=1
	@tools/deps.sh build bench
	@$(MAKE) -sj$(JOBS) --no-print-directory $(COUNT)
	@CC="$(CC)" python3 tests/bench/counts.py --flags "$(CFLAGS)" \
	    $(if $(RECORD),--record) $(if $(ONLY),--only $(ONLY)) \
	    $(if $(PROFILE),--profile $(PROFILE)) $(COUNT)

docs: $B/print-options ## docs/options.md from proto/options.def
	@mkdir -p docs
	$B/print-options > docs/options.md

$B/print-options: $B/tools/print-options.c.o $(call libs,proto base)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# What an installation consists of; everything lies below DESTDIR and PREFIX.
ROOT    := $(DESTDIR)$(PREFIX)
DOCDIR  := $(ROOT)/share/doc/touchline
UNITDIR ?= $(ROOT)/lib/systemd/system
install: all install-only ## binaries, manuals, completion, units, configuration; honours DESTDIR, PREFIX

# Of what is built.
install-only: $B/print-options
	install -d $(ROOT)/bin $(DOCDIR)/docs/decisions $(DOCDIR)/docs/proxies \
	    $(ROOT)/share/touchline
	install -m 755 $(BINARIES) $(ROOT)/bin
	install -m 644 LICENSE README.md $(DOCDIR)
	install -m 644 $(wildcard docs/*.md docs/*.png docs/*.svg) $(DOCDIR)/docs
	install -m 644 $(wildcard docs/decisions/*.md) $(DOCDIR)/docs/decisions
	install -m 644 $(wildcard docs/proxies/*) $(DOCDIR)/docs/proxies
	install -D -m 644 -t $(ROOT)/share/touchline/monitoring \
	    $(wildcard tools/monitoring/*)
	$(foreach s,1 5 8,$(if $(wildcard docs/man/*.$s),\
	    install -D -m 644 -t $(ROOT)/share/man/man$s \
	        $(wildcard docs/man/*.$s) &&)) true
	install -D -m 644 tools/router-ctl/completion.bash \
	    $(ROOT)/share/bash-completion/completions/router-ctl
	install -D -m 644 tools/flood/completion.bash \
	    $(ROOT)/share/bash-completion/completions/touchline-flood
	for name in touchline $(patsubst %,touchline-%,router repeater http tcp ws); do \
	    install -D -m 644 tools/touchline/completion.bash \
	        $(ROOT)/share/bash-completion/completions/$$name || exit 1; \
	done
	tools/packaging/systemd/make-units.sh $(PREFIX)/bin $(UNITDIR)
	install -D -m 644 tools/packaging/touchline.sysusers \
	    $(ROOT)/lib/sysusers.d/touchline.conf
	install -D -m 644 tools/packaging/touchline.tmpfiles \
	    $(ROOT)/lib/tmpfiles.d/touchline.conf
	$B/print-options --sample > $(ROOT)/share/touchline/touchline.conf
	chmod 644 $(ROOT)/share/touchline/touchline.conf

npm: ## tools/js as an npm package, into build/
	@mkdir -p build
	@cd tools/js && npm pack --silent --pack-destination ../../build

deb: all deps-package ## a Debian package, into build/
	@tools/packaging/make-deb.sh $(VERSION)

deb-test: deb ## package and container in a bare Debian (debootstrap, root)
	@TOUCHLINE_DEBOOTSTRAP=$${TOUCHLINE_DEBOOTSTRAP:-1} \
	    TOUCHLINE_TEST_LIMIT=3600 python3 tests/system/run.py package.bare

deps-package: ## what `make deb` needs on top
	@tools/deps.sh build package

clean: ## remove build/
	rm -rf build
