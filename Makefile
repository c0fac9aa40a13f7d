# ngx_centrifugo_module
#
#   make run      installs what is missing, builds, starts the quickstart
#   make test     everything that is tested
#   make check    what is tested before each commit

.DEFAULT_GOAL = help
.PHONY: help deps build build-test build-matrix run test check lint unit \
        nginx-test e2e sanitize fuzz model bench install clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 5
	@echo "  also: deps build lint unit nginx-test e2e sanitize fuzz model bench" \
	      "install clean"
	@echo "        build-matrix: builds and tests with the NGINX of three Debian suites"

deps:
	@scripts/deps.sh run
	@[ -d examples/quickstart/node_modules ] || \
	    (cd examples/quickstart && npm ci --no-audit --no-fund --silent)

build:
	@scripts/build.sh

# with late answers, kills and wipes, for tests only
build-test:
	@TEST=1 scripts/build.sh

# with the NGINX of SUITES, built from Debian's sources
build-matrix:
	@scripts/deps.sh matrix
	@scripts/matrix.sh

run: deps build
	@exec scripts/run.sh

lint:
	@scripts/test.sh lint

unit:
	@scripts/test.sh unit

nginx-test: build
	@scripts/test.sh nginx

e2e: build build-test
	@$(MAKE) --no-print-directory -s -C bench
	@scripts/test.sh e2e

check:
	@scripts/deps.sh check
	@$(MAKE) --no-print-directory build lint unit nginx-test

test:
	@scripts/deps.sh test
	@$(MAKE) --no-print-directory deps build build-test lint unit \
	    nginx-test e2e
	@$(MAKE) --no-print-directory -s -C bench test

# the end-to-end tests on a module built with ASan and UBSan
sanitize:
	@scripts/deps.sh test
	@SAN=1 scripts/build.sh
	@SAN=1 TEST=1 scripts/build.sh
	@$(MAKE) --no-print-directory -s -C bench
	@scripts/test.sh sanitize

# time of each target from FUZZ_SECONDS
fuzz:
	@scripts/deps.sh check
	@$(MAKE) --no-print-directory -C t/fuzz run

# what it costs on this machine: a minute and a half
bench: build
	@$(MAKE) --no-print-directory -C bench
	@bench/run.sh

# the rules of the shared memory, proved by spin: five minutes
model:
	@scripts/deps.sh model
	@$(MAKE) --no-print-directory -C t/model check

install: build
	@dir=$$(nginx -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p'); \
	 [ -n "$$dir" ] || { echo "install: no modules path in nginx -V" >&2; \
	 exit 1; }; \
	 install -D -m 644 build/ngx_centrifugo_module.so \
	     "$$dir/ngx_centrifugo_module.so" && \
	 echo "== installed $$dir/ngx_centrifugo_module.so"

clean:
	@rm -rf build
