package firewall_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// slack is how much slower than promised things may be here.
var slack = netlab.Slack()

// sh runs a command of the operator's and returns what it printed.
func sh(t testing.TB, format string, args ...any) string {
	t.Helper()
	out, err := try(format, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return out
}

func try(format string, args ...any) (string, error) {
	out, err := exec.Command("sh", "-ec", fmt.Sprintf(format, args...)).CombinedOutput()
	return string(out), err
}

func listTable(t testing.TB) string {
	t.Helper()
	return sh(t, "nft list table inet nameroute")
}

// open makes a Kernel that the test closes, on a ruleset without our table.
func open(t testing.TB, o learned.Options) *learned.Store {
	t.Helper()
	netlab.Need(t, "nft")
	t.Cleanup(func() { // runs after the Kernels that own tables are closed
		if out, err := try("nft list tables | sed 's/^/delete /' | nft -f -"); err != nil {
			t.Errorf("clean up: %v %s", err, out)
		}
	})
	return openMore(t, o)
}

// openMore is open for a second Kernel, which finds what the first left.
func openMore(t testing.TB, o learned.Options) *learned.Store {
	t.Helper()
	if o.Table == "" {
		o.Table = gateway.TableName
	}
	o.Timeout = time.Minute // a busy machine is no reason to give up
	k, err := learned.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if f := k.Features(); (o.Force == nft.ModeOwned && !f.Persist) || (o.Force == nft.ModeReplica && !f.Owner) {
		t.Skipf("this kernel cannot: %+v", f)
	}
	return k
}

func apply(t testing.TB, k *learned.Store, s firewall.Spec) int {
	t.Helper()
	n, err := k.Apply(t.Context(), firewall.Desired(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// applyTwice applies and requires that the second time changes nothing.
func applyTwice(t testing.TB, k *learned.Store, s firewall.Spec) {
	t.Helper()
	apply(t, k, s)
	if n := apply(t, k, s); n != 0 {
		t.Fatalf("applied twice: %d changes the second time", n)
	}
}

// stoppedBy is what the kill switches have dropped.
func stoppedBy() (map[string]nft.Counter, error) {
	c, err := firewall.ReadCounts()
	return c.Dropped, err
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
func addrs(s ...string) (as []netip.Addr) {
	for _, a := range s {
		as = append(as, addr(a))
	}
	return as
}

func prefixes(s ...string) (ps []netip.Prefix) {
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// learnInto is Ensure for a name that is not known.
func learnInto(k *learned.Store, ctx context.Context, pair nft.SetPair, as []netip.Addr, need, want time.Duration) error {
	return k.Ensure(ctx, &pair, "", as, need, want)
}

func learn(t testing.TB, k *learned.Store, pair nft.SetPair, life time.Duration, as ...string) {
	t.Helper()
	if err := learnInto(k, t.Context(), pair, addrs(as...), life, life); err != nil {
		t.Fatal(err)
	}
}

const mask = gateway.DefaultMask

func route(name string, number int) gateway.Route {
	return gateway.Route{Name: name, Number: number, Mark: mask.Mark(number), OnDown: gateway.Block,
		Table: gateway.DefaultTable + number, Priority: gateway.DefaultPriority + number}
}

func config(routes ...gateway.Route) *gateway.Config {
	return &gateway.Config{LAN: []string{"br-lan"}, Routes: routes, Mask: mask, Priority: gateway.DefaultPriority,
		SetSize: gateway.DefaultSetSize, Owner: gateway.OwnerAuto}
}

func modes(t *testing.T, test func(t *testing.T, m nft.Mode)) {
	for _, m := range []nft.Mode{nft.ModeOwned, nft.ModeReplica, nft.ModePlain} {
		t.Run(string(m), func(t *testing.T) { test(t, m) })
	}
}

// vpn names the sets of the lab's route.
var vpn = firewall.Pair(route("vpn", 1))

// restored is the promise: a loss is undone within this time.
var restored = time.Duration(slack) * 100 * time.Millisecond

// blocks are the sets and chains of a listing, sorted: what was made again is listed last.
func blocks(list string) []string {
	b := strings.Split(strings.TrimSuffix(list, "}\n"), "\n\n\t")
	for i := range b {
		b[i] = strings.TrimSpace(strings.TrimPrefix(b[i], "table inet nameroute {\n"))
	}
	slices.Sort(b)
	return b
}

func eventually(t testing.TB, within time.Duration, ok func() bool) {
	t.Helper()
	netlab.Eventually(t, within, func() error { return netlab.Check(ok(), "not yet") })
}
