# `sudo make demo` shows it, `sudo make test` proves it, `make build` makes bin/nameroute.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 10s
SOAK ?= 1h

# Go's own version choice: a Go that is older than go.mod asks for fetches the right one.
export GOTOOLCHAIN ?= auto
# A checkout that belongs to somebody else than root has no version for git under sudo.
export GOFLAGS := -buildvcs=false $(GOFLAGS)

GOCMD := $(shell GO='$(GO)' sh .ci/find-go 2>/dev/null)
ROOT := $(filter 0,$(shell id -u))

# Under sudo, what needs no root runs as the owner of the checkout, so that bin/ and
# the caches stay theirs. Root's tests read that module cache and have a build cache
# of root's own.
ifneq ($(and $(ROOT),$(SUDO_UID),$(filter $(SUDO_UID),$(shell stat -c %u .))),)
AS_OWNER := sudo -H -u '\#$(SUDO_UID)' env GOTOOLCHAIN=$(GOTOOLCHAIN) GOFLAGS='$(GOFLAGS)'
AS_ROOT = HOME=$(shell getent passwd 0 | cut -d: -f6) GOMODCACHE=$$($(AS_OWNER) $(GOCMD) env GOMODCACHE)
endif

GO_USER = $(AS_OWNER) $(GOCMD)
GO_ROOT = $(AS_ROOT) $(GOCMD)

# Root must not skip a kernel test; others cannot run them.
NETLAB ?= $(if $(ROOT),require)
export NETLAB

VERSION ?= $(shell $(AS_OWNER) git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: build demo test format vet staticcheck bench fuzz soak clean install-tools need-go

build: need-go
	$(AS_OWNER) mkdir -p bin
	$(AS_OWNER) env CGO_ENABLED=0 $(GOCMD) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/nameroute ./cmd/nameroute

demo: build
	@sh .ci/install-tools iproute2 nftables wireguard-tools wireguard-go dnsutils
	./bin/nameroute demo $(DEMO)

test: install-tools format vet staticcheck
	$(GO_ROOT) test -race -count=1 -timeout 9m ./...

format: need-go
	@unformatted=$$($(AS_OWNER) $$($(GO_USER) env GOROOT)/bin/gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

vet: need-go
	$(GO_USER) vet ./...

staticcheck: need-go
	$(GO_USER) run $(STATICCHECK) ./...

bench: need-go
	$(GO_ROOT) test -run '^$$' -bench . -benchmem -timeout 30m ./...

# Every fuzz target for FUZZTIME. A crasher lands in the package's testdata/fuzz.
fuzz: need-go
	@for dir in $$($(GO_USER) list -f '{{.Dir}}' ./...); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "$$dir $$target"; \
			(cd $$dir && $(GO_USER) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
		done; \
	done

# Long runs in real time: SOAK says how long.
soak: need-go
	@grep -rqE --include='*_test.go' '^func TestSoak' . || { echo "no TestSoak tests"; exit 1; }
	NAMEROUTE_SOAK=$(SOAK) $(GO_ROOT) test -race -count=1 -run '^TestSoak' -timeout 0 ./...

clean:
	rm -rf bin

install-tools:
	@sh .ci/install-tools $(if $(ROOT),,gcc libc6-dev)

need-go:
	@GO='$(GO)' sh .ci/find-go >/dev/null
