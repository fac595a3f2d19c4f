package nft

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

// What these tests need of gateway/firewall, which imports this package and so cannot be
// imported by it. The file of package nft_test fills it in.
type (
	// Spec is firewall.Spec.
	Spec struct {
		Config    *gateway.Config
		Egress    map[string]Egress
		WANLinks  []string
		Local     []netip.Prefix
		Prefixes  map[string][]netip.Prefix
		Listeners []Listener
		Removed   []gateway.Mark
	}
	// Egress is firewall.Egress.
	Egress struct {
		Links        []string
		Inbound      bool
		SNAT4, SNAT6 netip.Addr
		Masquerade   bool
		MTU          int
		Down         bool
	}
	// Listener is firewall.Listener.
	Listener struct {
		Addr  netip.Addr
		Proto string
		Port  uint16
		DNS   bool
	}
	// Counts is firewall.Counts.
	Counts struct {
		Dropped    map[string]Counter
		Redirected Counter
		Refused    Counter
	}
)

// The functions of package firewall.
var (
	Desired    func(Spec) *Table
	Unanswered func(Spec) []string
	ReadCounts func() (Counts, error)
)

// maxRanges is firewall's.
const maxRanges = 8192

// Pair is firewall.Pair.
func Pair(r gateway.Route) SetPair {
	ref := func(f gateway.Family) SetRef {
		return SetRef{Family: "inet", Table: gateway.TableName, Name: r.Set(f)}
	}
	return SetPair{Set4: ref(gateway.V4), Set6: ref(gateway.V6)}
}
