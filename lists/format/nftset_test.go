package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestNFTSet(t *testing.T) {
	runFormat(t, "nftset", []formatCase{
		{"add table inet global", ""},
		{"add set inet global chnroute { type ipv4_addr; flags interval; }", ""},
		{"add element inet global chnroute { 192.0.2.0/24 }", "192.0.2.0/24"},
		{"add element inet t s { 192.0.2.1, 2001:db8::/32 timeout 1h, 198.51.100.0-198.51.100.3 }", "192.0.2.1/32 2001:db8::/32 198.51.100.0/30"},
		{"elements = { 192.0.2.0/25,\n  192.0.2.128/25 }\n", "192.0.2.0/25 192.0.2.128/25"},
		{"add chn 192.0.2.0/24", "192.0.2.0/24"},
		{"-A chn 192.0.2.0/24", "192.0.2.0/24"},
		{"create chn hash:net family inet", ""},
		{"add element inet t s { 198.51.100.9-198.51.100.3 }", "! " + entry.ReasonRange},
		{"add element inet t s { vpn0 }", "! " + reasonNFT},
		{"example.com", "! " + reasonNFT},
	})
}
