//go:build linux

// Package firewalltest is what the tests share that put whole nft tables into a kernel.
package firewalltest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/gatewaytest"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

// Modes runs a test with each kind of table.
func Modes(t *testing.T, test func(t *testing.T, m nft.Mode)) {
	for _, m := range []nft.Mode{nft.ModeOwned, nft.ModeReplica, nft.ModePlain} {
		t.Run(string(m), func(t *testing.T) { test(t, m) })
	}
}

// Cleanup deletes all nft tables when the test ends, after what it cleans up itself.
func Cleanup(t testing.TB) {
	t.Helper()
	netlab.Need(t, "nft")
	t.Cleanup(func() {
		if out, err := shell.Try("nft list tables | sed 's/^/delete /' | nft -f -"); err != nil {
			t.Errorf("clean up: %v %s", err, out)
		}
	})
}

// List is our table as nft(8) lists it.
func List(t testing.TB) string {
	t.Helper()
	return shell.Run(t, "nft list table inet nameroute")
}

// Store is a learned.Store, whose own tests need this package, too.
type Store interface {
	Apply(context.Context, *nft.Table) (changes int, err error)
	Ensure(ctx context.Context, pair *nft.SetPair, name string, addrs []netip.Addr, need, want time.Duration) error
	Features() nft.Features
}

// NeedMode skips the test where the kernel has no tables of this kind.
func NeedMode(t testing.TB, k Store, m nft.Mode) {
	t.Helper()
	if f := k.Features(); m == nft.ModeOwned && !f.Persist || m == nft.ModeReplica && !f.Owner {
		t.Skipf("this kernel cannot: %+v", f)
	}
}

// Apply applies a table and returns the number of changes.
func Apply(t testing.TB, k Store, s firewall.Spec) int {
	t.Helper()
	n, err := k.Apply(t.Context(), firewall.Desired(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ApplyTwice applies, and requires that the second time changes nothing.
func ApplyTwice(t testing.TB, k Store, s firewall.Spec) {
	t.Helper()
	Apply(t, k, s)
	if n := Apply(t, k, s); n != 0 {
		t.Fatalf("applied twice: %d changes the second time", n)
	}
}

// Learn puts addresses of a name that is not known into the sets of a route.
func Learn(t testing.TB, k Store, pair nft.SetPair, life time.Duration, as ...string) {
	t.Helper()
	if err := k.Ensure(t.Context(), &pair, "", gatewaytest.Addrs(as...), life, life); err != nil {
		t.Fatal(err)
	}
}
