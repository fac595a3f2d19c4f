package learned

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/firewall/firewalltest"
	"github.com/nameroute/nameroute/gateway/gatewaytest"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// slack is how much slower than promised things may be here.
var slack = raceSlack * netlab.Slack()

var (
	sh, try           = shell.Run, shell.Try
	listTable         = firewalltest.List
	addr              = netip.MustParseAddr
	addrs, prefixes   = gatewaytest.Addrs, gatewaytest.Prefixes
	route, config     = gatewaytest.Route, gatewaytest.Config
	many              = gatewaytest.ManyPrefixes
	modes             = firewalltest.Modes
	apply, applyTwice = firewalltest.Apply, firewalltest.ApplyTwice
	learn             = firewalltest.Learn
)

// open makes a Kernel that the test closes, on a ruleset without our table.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	firewalltest.Cleanup(t)
	return openMore(t, o)
}

// openMore is open for a second Kernel, which finds what the first left.
func openMore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Table == "" {
		o.Table = gateway.TableName
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute // a busy machine is no reason to give up
	}
	k, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	firewalltest.NeedMode(t, k, o.Force)
	return k
}

// stoppedBy is what the kill switches have dropped.
func stoppedBy() (map[string]nft.Counter, error) {
	c, err := firewall.ReadCounts()
	return c.Dropped, err
}

// learnInto is Ensure for a name that is not known.
func learnInto(k *Store, ctx context.Context, pair nft.SetPair, as []netip.Addr, need, want time.Duration) error {
	return k.Ensure(ctx, &pair, "", as, need, want)
}

// known reports whether answers can rely on the addresses, whatever their names.
func known(k *Store, pair *nft.SetPair, as []netip.Addr, need time.Duration) bool {
	for _, a := range as {
		if left, ok := k.Remaining(*pair.Of(plain(a)), a); !ok || left < need {
			return false
		}
	}
	return true
}
