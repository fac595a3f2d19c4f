# `sudo make demo` shows it, `sudo make test` proves it, `make build` makes bin/nameroute.
# `make help` lists the rest.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# The last version whose modules all come from where ours do.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
FUZZTIME ?= 10s
SOAK ?= 1h

# Go's own version choice: a Go that is older than go.mod asks for fetches the right one.
export GOTOOLCHAIN ?= auto
# Under sudo, git refuses the checkout of another user, so no version is stamped.
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

# The build date, by which the program can tell that a clock is wrong, in seconds since
# 1970 (https://reproducible-builds.org/specs/source-date-epoch/): the commit's.
export SOURCE_DATE_EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell $(AS_OWNER) git log -1 --format=%ct 2>/dev/null || date +%s))
STAMP = -X main.version=$(VERSION) -X main.buildDate=$(SOURCE_DATE_EPOCH)

# What `make build` makes.
PROGRAM ?= bin/nameroute

PREFIX ?= /usr/local

.PHONY: build demo test test-packages test-e2e test-race race format vet staticcheck bench bench-lists peers-test conform fuzz soak clean install-tools need-go \
	man completion install uninstall deb package-test vm-test help

build: need-go
	$(AS_OWNER) mkdir -p bin
	$(AS_OWNER) env CGO_ENABLED=0 $(GOCMD) build -trimpath -ldflags '-s -w $(STAMP)' -o $(PROGRAM) ./cmd/nameroute

help:
	@echo "build         bin/nameroute"
	@echo "demo          shows the real thing between network namespaces (root)"
	@echo "test          everything that is tested (root: kernel tests too), in parts with their times:"
	@echo "              format vet staticcheck test-packages test-e2e test-race, each a target too"
	@echo "race          the end-to-end tests with the race detector (root)"
	@echo "bench fuzz soak   benchmarks; every fuzz target for FUZZTIME; real time for SOAK"
	@echo "bench-lists   docs/lists-growth.md: the lists' matcher beside others"
	@echo "peers-test    the lists' readers and matcher beside mihomo and sing-box, and a tunnel by tun2socks"
	@echo "conform       answers beside unbound, dnsmasq, smartdns and plain CoreDNS: a table of faults (root)"
	@echo "install uninstall   below PREFIX ($(PREFIX)), after DESTDIR"
	@echo "deb           bin/nameroute_VERSION_ARCH.deb"
	@echo "package-test  the package and its units in a Debian of their own (root)"
	@echo "vm-test       the kernel tests on Debian's 6.1 and 6.12, in QEMU"
	@echo "man completion   bin/man and bin/completion"

demo: build
	@sh .ci/install-tools iproute2 nftables wireguard-tools wireguard-go dnsutils
	./bin/nameroute demo $(DEMO)

# End to end, the race detector makes each packet several times as dear, and a machine with
# two cores slower than the tests' limits. It goes through what reloads, restarts and
# competes; `make race` through all.
RACE = TestReloadLosesNoQuery|TestReloadsAtOnce|TestReloadOfImports|TestRouteComesAndGoes|TestFreshNamesConnectedToAtOnce|TestPlainTableIsPutBack|TestPartsRestartAlone|TestFallBackToWAN|TestListUpdates|TestStatus|TestEvict|TestRedirect

# All parts run, whatever becomes of each; the end says how long each took and which failed.
TEST_PARTS = install-tools format vet staticcheck test-packages test-e2e test-race
test:
	@MAKE='$(MAKE)' sh .ci/parts $(TEST_PARTS)

# Without what `make vet` does anyway.
GO_TEST = $(GO_ROOT) test -vet=off -count=1

test-packages: need-go
	$(GO_TEST) -race -timeout 20m $$($(GO_USER) list ./... | grep -v '/nameroute/test$$')

test-e2e: need-go
	$(GO_TEST) -timeout 30m -parallel 3 ./test

test-race: need-go
	$(GO_TEST) -race -timeout 20m -parallel 3 -run '^($(RACE))$$' ./test

race: install-tools
	$(GO_ROOT) test -race -count=1 -timeout 30m ./test

format: need-go
	@unformatted=$$($(AS_OWNER) $$($(GO_USER) env GOROOT)/bin/gofmt -l .); \
	if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi

vet: need-go
	$(GO_USER) vet ./...

staticcheck: need-go
	$(GO_USER) run $(STATICCHECK) ./...

bench: need-go
	$(GO_ROOT) test -run '^$$' -bench . -benchmem -timeout 30m ./...

# The page on how lists grow. The peers are in a module of their own, out of go.mod.
BENCH_SIZES ?= 100000,1000000,10000000
bench-lists: need-go
	cd test/bench-peers && $(GO_USER) run . -lists "$${NAMEROUTE_LISTS:-$(CURDIR)/../shared/lists}" \
		-sizes $(BENCH_SIZES) -page $(CURDIR)/docs/lists-growth.md

# The lists' readers and matcher beside mihomo and sing-box, and a tunnel by tun2socks. These are built for it once.
PEERS ?= $(or $(XDG_CACHE_HOME),$(shell $(AS_OWNER) sh -c 'echo $$HOME')/.cache)/nameroute-peers
peers-test: need-go
	$(AS_OWNER) env GO='$(GOCMD)' sh .ci/build-peers '$(PEERS)'
	NAMEROUTE_PEERS='$(PEERS)' $(GO_USER) test -count=1 -v -run '^TestPeer' ./lists
	@sh .ci/install-tools iproute2 nftables wireguard-tools wireguard-go shadowsocks-libev
	NAMEROUTE_PEERS='$(PEERS)' $(GO_ROOT) test -count=1 -v -run '^TestPeer' ./test

# Queries in all modes to nameroute and to others, on one scripted upstream. It fails if
# nameroute differs from the upstream where it must not; what others do is only shown.
conform: need-go
	@sh .ci/install-tools iproute2 nftables wireguard-tools wireguard-go dnsutils unbound dnsmasq-base smartdns
	NAMEROUTE_CONFORM=1 $(GO_ROOT) test -count=1 -timeout 10m -v -run '^TestConform$$' ./test

# Every fuzz target for FUZZTIME. A crasher lands in the package's testdata/fuzz.
fuzz: need-go
	@for dir in $$($(GO_USER) list -f '{{.Dir}}' ./...); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "$$dir $$target"; \
			(cd $$dir && $(GO_USER) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x .) || exit 1; \
		done; \
	done

# Long runs in real time: SOAK says how long.
soak: need-go
	NAMEROUTE_SOAK=$(SOAK) $(GO_ROOT) test -race -count=1 -v -run '^TestSoak$$' -timeout 0 ./test

# Manual pages from the commands. The program that writes them is not the one that runs.
man: need-go
	@$(AS_OWNER) mkdir -p bin/man
	@$(AS_OWNER) env SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(GOCMD) run -tags man -ldflags '$(STAMP)' ./cmd/nameroute bin/man

completion: build
	@$(AS_OWNER) mkdir -p bin/completion
	@for shell in bash zsh fish; do $(AS_OWNER) sh -c "./bin/nameroute completion $$shell >bin/completion/$$shell" || exit 1; done

# Below PREFIX, after DESTDIR; nothing in /etc or /var, nothing enabled or started.
install: build man completion
	sh packaging/install install '$(DESTDIR)' '$(PREFIX)'
	@test -n '$(DESTDIR)' || echo "next: systemd-sysusers && systemctl daemon-reload; docs/install.md has the rest"

uninstall:
	@test -n '$(DESTDIR)' || { ! pidof nameroute >/dev/null || { echo "nameroute is running: stop it first, or remove everything that it set up with: nameroute down" >&2; exit 1; }; }
	sh packaging/install uninstall '$(DESTDIR)' '$(PREFIX)'

# bin/nameroute_VERSION_ARCH.deb. Debian's versions begin with a digit.
# Of a commit without a tag before it, the time sorts, and not the hash.
DEB_VERSION ?= $(if $(filter v0% v1% v2% v3% v4% v5% v6% v7% v8% v9%,$(VERSION)),$(patsubst v%,%,$(VERSION)),0~git$(shell date -u -d @$(SOURCE_DATE_EPOCH) +%Y%m%d%H%M%S).$(subst -,.,$(VERSION)))
DEB_ARCH ?= $(shell $(AS_OWNER) $(GOCMD) env GOARCH)

deb: build man completion
	$(AS_OWNER) rm -rf bin/root
	$(AS_OWNER) sh packaging/install install bin/root /usr
	$(AS_OWNER) env DEB_VERSION='$(DEB_VERSION)' DEB_ARCH='$(DEB_ARCH)' $(GOCMD) run $(NFPM) package -f packaging/debian/nfpm.yaml -p deb -t bin/

# The package and the units in a Debian that boots, made with debootstrap, and what the
# image holds with the capabilities of packaging/compose.yml.
package-test: deb
	@for tool in debootstrap systemd-nspawn capsh wg dig nft; do PATH=$$PATH:/usr/sbin:/sbin command -v $$tool >/dev/null || \
		{ echo "there is no $$tool: apt-get install debootstrap systemd-container libcap2-bin wireguard-tools dnsutils nftables" >&2; exit 1; }; done
	PACKAGE_PROGRAM=bin/nameroute PACKAGE_TEST=bin/nameroute_$(DEB_VERSION)_$(DEB_ARCH).deb $(GO_ROOT) test -count=1 -timeout 30m -v -run '^TestPackage' ./packaging

# The kernel tests on Debian's kernels with kernel WireGuard. The script says what VM can
# set: make vm-test VM='VM_PACKAGES=./test VM_RUN=TestDown'
vm-test: need-go
	@sh .ci/install-tools qemu-system-x86 cpio kmod
	$(AS_OWNER) env GO='$(GOCMD)' $(VM) sh test/vm/run

clean:
	rm -rf bin

install-tools:
	@sh .ci/install-tools $(if $(ROOT),,gcc libc6-dev)

need-go:
	@GO='$(GO)' sh .ci/find-go >/dev/null
