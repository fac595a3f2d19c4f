package policy

import (
	"net/netip"
	"slices"
	"testing"
)

func TestLocal(t *testing.T) {
	lab(t)
	run(t, `
ip route add 172.16.0.0/12 via 192.168.1.9
ip -6 route add fd00:77::/48 via fd00:1::9
ip route add 0.0.0.0/1 via 192.168.1.9; ip route add 128.0.0.0/1 via 192.168.1.9
ip -6 route add 2000::/3 via fd00:1::9
ip route add 10.77.0.0/16 dev wg0
ip route add blackhole 10.99.0.0/16
ip route add throw 10.98.0.0/16
ip route add 203.0.113.0/24 nexthop dev wg0 nexthop via 192.168.1.9 dev lan0
ip route add 10.55.0.0/16 via 192.168.1.9 table 100`)
	got, err := Local([]string{"wg0"})
	if err != nil {
		t.Fatal(err)
	}
	in := func(s string) bool { return slices.Contains(got, netip.MustParsePrefix(s)) }
	for _, p := range []string{
		"127.0.0.0/8", "127.0.0.1/32", "::1/128", // the box
		"192.0.2.2/32", "192.0.2.255/32", "2001:db8:1::2/128", "10.8.0.2/32", "fd00:8::2/128",
		"192.0.2.0/24", "192.168.1.0/24", "2001:db8:1::/64", "fd00:1::/64", "fe80::/64", // connected
		"172.16.0.0/12", "fd00:77::/48", "10.99.0.0/16", "203.0.113.0/24", // table main
	} {
		if !in(p) {
			t.Errorf("%s is missing in %v", p, got)
		}
	}
	for _, p := range []string{
		"0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", // defaults and half-defaults
		"10.8.0.0/24", "fd00:8::/64", "10.77.0.0/16", // behind the egress
		"10.98.0.0/16", "10.55.0.0/16",
	} {
		if in(p) {
			t.Errorf("%s is not local", p)
		}
	}
}

func TestLocalIsBounded(t *testing.T) {
	lab(t)
	run(t, "for i in $(seq 1 4200); do echo route add 198.18.$((i/256)).$((i%256))/32 via 192.168.1.9; done | ip -batch -")
	got, err := Local(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) > 60 || !slices.Contains(got, netip.MustParsePrefix("192.168.1.0/24")) {
		t.Errorf("%d prefixes", len(got))
	}
}
