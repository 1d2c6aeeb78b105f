# make test is what a change must pass. Each stage prints how long it took.
# Parts of it: make check (no tests), make unit, make storage, make stories, make clients.

GO        ?= go
# Nothing is taken from the cache of test results: a test that passed once may fail today.
TESTFLAGS ?= -count=1
CLIENTS   := test/clients/js

.PHONY: all build test check fmt vet staticcheck house unit fuzz storage stories clients clients-go clients-js sample coverage clean

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/astrocyte .

test:
	@sh .ci/stages fmt vet staticcheck house unit fuzz storage stories clients

check:
	@sh .ci/stages fmt vet staticcheck house

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

house:
	$(GO) test $(TESTFLAGS) -run '^TestHouse' ./test

# Packages whose tests need no database; the vectors of the room engine are among them.
unit:
	$(GO) test $(TESTFLAGS) $$(sh .ci/packages unit)

# Every fuzz target for FUZZTIME each.
fuzz:
	@sh .ci/fuzz

# Packages whose tests run on SQLite and on PostgreSQL.
storage:
	$(GO) test $(TESTFLAGS) $$(sh .ci/packages storage)

# Whole servers, and the packages that run many goroutines, with the race detector. The time is for slow machines.
stories:
	CGO_ENABLED=1 $(GO) test $(TESTFLAGS) -timeout 30m -race -skip '^TestHouse' $$(sh .ci/packages stories)

# Libraries that people's clients are made of, against a server of this tree, also with their cryptography.
# ASTROCYTE_CRYPTO_ROUNDS says how often the server is killed while they talk in secret.
clients: clients-go clients-js

clients-go:
	cd test/clients/go && CGO_ENABLED=0 $(GO) test $(TESTFLAGS) -tags goolm ./...

# matrix-js-sdk needs Node 22. Where the machine's is older: npm install --prefix .ci --no-save node@22
clients-js: export PATH := $(CURDIR)/.ci/node_modules/.bin:$(PATH)
clients-js:
	@if ! node -e 'process.exit(parseInt(process.versions.node) < 22 ? 1 : 0)' 2>/dev/null; then \
		echo "SKIPPED: there is no Node 22 on this machine"; [ "$$CI" != true ]; \
	else { [ -d $(CLIENTS)/node_modules ] || npm --prefix $(CLIENTS) ci --no-audit --no-fund; } && \
		timeout 300 npm --prefix $(CLIENTS) test; fi

sample:
	$(GO) test ./config -run Sample -update

coverage:
	$(GO) test ./test -run TestHouseCoverage -update

clean:
	rm -rf bin
