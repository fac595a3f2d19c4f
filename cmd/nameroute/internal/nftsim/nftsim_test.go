package nftsim

import (
	"slices"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// read loads rules into a namespace of their own and reads them back.
func read(t *testing.T, rules string) *Ruleset {
	t.Helper()
	netlab.Need(t, "nft")
	n := netlab.NewNamespace(t, "box")
	n.NFT(rules)
	var rs *Ruleset
	var err error
	n.Do(func() { rs, err = Read() })
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// A chain drops a flow only where no rule that may match accepts it.
func TestDropsIsCertain(t *testing.T) {
	lan := Flow{In: "br-lan", Out: "wg0"}
	for _, c := range []struct {
		name, rules string
		flow        Flow
		want        string
	}{
		{"no rules", "", lan, ""},
		{"the policy", "policy drop;", lan, "inet t forward"},
		{"a rule", "iifname br-lan drop", lan, "inet t forward"},
		{"another interface's rule", "iifname eth0 drop", lan, ""},
		{"a wildcard", "oifname \"wg*\" reject", lan, "inet t forward"},
		{"accepted before", "policy drop; iifname br-lan oifname wg0 accept", lan, ""},
		{"accepted for replies only", "policy drop; ct state established,related accept", lan, "inet t forward"},
		{"accepted perhaps", "policy drop; ip saddr 192.0.2.0/24 accept", lan, ""},
		{"dropped perhaps", "ip saddr 192.0.2.0/24 drop", lan, ""},
		{"a set of interfaces", "iifname { br-lan, lo } drop", lan, "inet t forward"},
		{"a set without the interface", "iifname != { br-lan, lo } drop", lan, ""},
		{"a jump", "jump sub\n } \n chain sub { iifname br-lan drop", lan, "inet t forward"},
		{"a jump that returns", "policy drop; jump sub; accept\n } \n chain sub { iifname br-lan return; drop", lan, ""},
		{"a goto", "goto sub; accept\n } \n chain sub { oifname wg0 drop", lan, "inet t forward"},
		{"a verdict map", "iifname vmap { br-lan : drop, lo : accept }", lan, "inet t forward"},
		{"a port", "udp dport 53 drop", Flow{In: "br-lan", Proto: unix.IPPROTO_UDP, Port: 53}, "inet t forward"},
		{"another port", "udp dport 54 drop", Flow{In: "br-lan", Proto: unix.IPPROTO_UDP, Port: 53}, ""},
		{"the other family", "meta nfproto ipv6 drop", lan, ""},
		{"this family", "meta nfproto ipv6 drop", Flow{In: "br-lan", IPv6: true}, "inet t forward"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rs := read(t, "table inet t {\n chain forward {\n type filter hook forward priority 0; "+c.rules+"\n }\n }\n")
			got := ""
			if chain := rs.Drops(*nftables.ChainHookForward, c.flow); chain != nil {
				got = chain.String()
			}
			if got != c.want {
				t.Errorf("%q: dropped by %q, want %q", c.rules, got, c.want)
			}
			if rs.Drops(*nftables.ChainHookInput, c.flow) != nil {
				t.Error("dropped by a chain of another hook")
			}
		})
	}
}

func TestTranslationIsFound(t *testing.T) {
	rs := read(t, `table ip nat {
chain post { type nat hook postrouting priority srcnat; oifname wan0 masquerade; }
chain pre { type nat hook prerouting priority dstnat; iifname br-lan udp dport 53 redirect to :53; iifname br-lan tcp dport 80 dnat to 192.0.2.1; }
}
table inet nameroute {
chain pre { type nat hook prerouting priority dstnat; iifname guest udp dport 53 redirect to :53; }
}
table ip filter {
chain DOCKER-USER { }
}
`)
	if !rs.TranslatesSource("wan0") || rs.TranslatesSource("wg0") {
		t.Errorf("source NAT on wan0 %v, want true; on wg0 %v, want false", rs.TranslatesSource("wan0"), rs.TranslatesSource("wg0"))
	}
	if c := rs.RedirectsPort("br-lan", 53); c == nil || c.String() != "ip nat pre" {
		t.Errorf("port 53 of br-lan is redirected by %v, want ip nat pre", c)
	}
	for _, in := range []string{"eth0", "guest"} { // guest's is in nameroute's own table
		if c := rs.RedirectsPort(in, 53); c != nil {
			t.Errorf("port 53 of %s is redirected by %v, want none", in, c)
		}
	}
	if got, want := rs.Managers(), []string{"Docker", "nftables"}; !slices.Equal(got, want) {
		t.Errorf("managers %q, want %q", got, want)
	}
}
