package firewall_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/firewall/firewalltest"
	"github.com/nameroute/nameroute/gateway/gatewaytest"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// slack is how much slower than promised things may be here.
var slack = netlab.Slack()

// mask is the mask of all marks here.
const mask = gatewaytest.Mask

var (
	sh, try           = shell.Run, shell.Try
	listTable         = firewalltest.List
	addr              = netip.MustParseAddr
	prefixes          = gatewaytest.Prefixes
	route, config     = gatewaytest.Route, gatewaytest.Config
	many              = gatewaytest.ManyPrefixes
	modes             = firewalltest.Modes
	apply, applyTwice = firewalltest.Apply, firewalltest.ApplyTwice
	learn             = firewalltest.Learn
)

// open makes a Kernel that the test closes, on a ruleset without our table.
func open(t testing.TB, o learned.Options) *learned.Store {
	t.Helper()
	firewalltest.Cleanup(t)
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
	firewalltest.NeedMode(t, k, o.Force)
	return k
}

// stoppedBy is what the kill switches have dropped.
func stoppedBy() (map[string]nft.Counter, error) {
	c, err := firewall.ReadCounts()
	return c.Dropped, err
}

// vpn names the sets of the lab's route.
var vpn = firewall.Pair(route("vpn", 1))

// restored is the promise: a loss is undone within this time. Tests wait for longer, because
// other things run beside them; BenchmarkPutBack of gateway/learned measures it.
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
