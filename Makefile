# make test    all checks and tests; on a fresh Debian machine, as root, it installs what they need
# make build   bin/cairn          make bench   benchmarks          make growth   the program on trees of FILES= files
# make fuzz    every fuzz target for FUZZTIME each
# make soak    the long tests (hours; SOAK= says how long each), also over the MinIO server, which takes minutes to build

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export PATH := $(PATH):/usr/local/go/bin
export CGO_ENABLED ?= 1
MAKEFLAGS   += --no-print-directory

# Go keeps its caches below HOME; a machine that has none gets one here.
HOME_OK := $(shell d=$${HOME:-}; [ -n "$$d" ] && mkdir -p "$$d" 2>/dev/null && [ -w "$$d" ] && echo yes)
ifneq ($(HOME_OK),yes)
export HOME := $(CURDIR)/.home
endif

FUZZTIME    ?= 60s
SOAK        ?= 1h
BENCH       ?= .
FILES       ?= 1000,10000,100000
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# What the tests use: compiler for -race, setfacl and getfattr, database servers, the Python reader's libraries.
PACKAGES := gcc libc6-dev acl attr mariadb-server postgresql python3 python3-argon2 python3-cbor2 python3-cryptography python3-zstandard sqlite3

# The packages with concurrency; -race costs about ten times the time, so the others do without.
RACE := ./chunk/... ./remote/... ./index/... ./archive/... ./agent/... ./tests/servers

.PHONY: test deps servers vet unit race build fuzz soak bench growth clean

# A clone that belongs to somebody else would fail to be stamped with its commit; tests need no stamp.
test: export GOFLAGS += -buildvcs=false
test: deps servers vet unit race

deps:
	@command -v go >/dev/null || { echo "go is missing: install Go 1.26 or later" >&2; exit 1; }
	@missing=(); for p in $(PACKAGES); do \
		[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null || true)" = installed ] || missing+=($$p); \
	done; \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "note: $${missing[*]} not installed and this is not root on Debian: tests that need them are skipped" >&2; exit 0; \
	fi; \
	echo "installing $${missing[*]}"; export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq </dev/null && apt-get install -y -qq --no-install-recommends "$${missing[@]}" </dev/null >/dev/null

# The S3 server that the tests start six of: a minute when the build cache is empty, so it is not to count as a test's time.
# Its module is nested, so that no ./... above finds it.
servers:
	@echo "building the S3 server of the tests"; cd tests/s3 && go tool -n versitygw >/dev/null

vet:
	@unformatted=$$(find . -name '*.go' -not -path './.*' -exec gofmt -l {} +); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	go vet -tags faults ./cmd/cairn # what tests kill and stop
	go run $(STATICCHECK) ./...

unit:
	go test -timeout 15m ./...

race:
	@if [ "$$(go env CGO_ENABLED)" != 1 ] || ! command -v "$$(go env CC)" >/dev/null; then \
		echo "note: no C compiler: -race is skipped" >&2; exit 0; fi; \
	echo "go test -race $(RACE)"; go test -race -timeout 15m $(RACE)

build:
	@if [ "$$(go env CGO_ENABLED)" = 1 ] && echo 'int main(void) { return 0; }' | $$(go env CC) -static -x c -o /dev/null - 2>/dev/null; then \
		go build -trimpath -tags netgo,osusergo -ldflags '-linkmode external -extldflags -static' -o bin/cairn ./cmd/cairn; \
	else echo "note: no C compiler that links statically: compression in Go takes 2 to 3 times as long" >&2; \
		CGO_ENABLED=0 go build -trimpath -o bin/cairn ./cmd/cairn; fi

# Fuzz functions are found in the files, because go test fuzzes one function of one package at a time.
fuzz:
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's/:func / /' | sort | while read -r file name; do \
		echo "== $$name in $$(dirname $$file), $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$(dirname $$file)" </dev/null; \
	done

soak:
	CAIRN_SOAK=$(SOAK) go test -count=1 -timeout 0 -run 'Soak|Survive|S3|KillEverywhere|PowerCut|Model$$|Schedules' -v ./tests ./archive/repair ./archive/prune

bench:
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

growth:
	CAIRN_BENCH_FILES=$(FILES) go test -run '^$$' -bench 'Files$$' -benchtime 1x -timeout 4h ./tests

clean:
	chmod -R u+w .home 2>/dev/null || true # the module cache is read-only
	rm -rf bin .home
