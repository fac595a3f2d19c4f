package nft

import (
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// slack is how much slower than promised things may be here.
var slack = netlab.Slack()

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(s ...string) (ps []netip.Prefix) {
	for _, p := range s {
		ps = append(ps, netip.MustParsePrefix(p))
	}
	return ps
}

// many are n prefixes that neither touch nor overlap, half of each family.
func many(n int) []netip.Prefix {
	out := make([]netip.Prefix, 0, n)
	for i := range n / 2 {
		v4 := netip.AddrFrom4([4]byte{byte(20 + i>>15), byte(i >> 7), byte(i << 1), 0})
		v6 := netip.AddrFrom16([16]byte{0x24, 0, byte(i >> 15), byte(i >> 7), byte(i << 1)})
		out = append(out, netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 40))
	}
	return out
}
