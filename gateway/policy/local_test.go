package policy

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// publicWAN replaces the lab's WAN addresses, which are for special use, by public ones.
const publicWAN = `
ip addr flush dev wan0; ip addr add 31.0.1.2/24 dev wan0; ip addr add 2a0e:1::2/64 dev wan0 nodad
ip route replace default via 31.0.1.1; ip -6 route flush default; ip -6 route add default via 2a0e:1::1 dev wan0
`

// What of table main is local is decided by the link, and why is told.
func TestLocal(t *testing.T) {
	lab(t)
	run(t, publicWAN+`
ip link add srv0 type veth peer name srv0p; ip link set srv0 up; ip link set srv0p up; ip addr add 172.20.0.1/24 dev srv0
ip addr add 45.1.0.1/16 dev lan0; ip -6 addr add 2a0e:5::1/56 dev lan0 nodad
ip route add 10.0.0.0/8 via 192.168.1.9; ip -6 route add fd00:77::/48 via fd00:1::9
ip route add 45.9.0.0/16 via 192.168.1.9; ip -6 route add 2a0e:9::/32 via fe80::9 dev lan0
ip route add 0.0.0.0/1 via 192.168.1.9; ip -6 route add 2000::/3 via fd00:1::9
ip route add 64.0.0.0/2 via 31.0.1.1 proto dhcp; ip route add 130.0.0.7 via 31.0.1.1; ip route add 131.0.0.0/24 dev wan0
ip -6 route add 2a00::/12 via fe80::1 dev wan0 proto ra; ip -6 route add 2a0f::7 dev wan0
ip route add 100.64.0.0/10 via 31.0.1.1; ip -6 route add fd99::/48 via fe80::1 dev wan0
ip route add 45.1.128.0/17 via 31.0.1.1; ip -6 route add 2a0e:5:0:80::/57 via fe80::1 dev wan0
ip route add 46.0.0.0/16 via 172.20.0.9; ip route add 47.0.0.0/16 via 31.0.1.1
ip route add 48.0.0.0/16 nexthop via 192.168.1.9 nexthop via 31.0.1.1
ip route add 10.77.0.0/16 dev wg0; ip route add 49.0.0.0/16 dev wg0
ip route add blackhole 50.0.0.0/16; ip -6 route add unreachable 2a0e:50::/48; ip route add throw 10.98.0.0/16
ip route add 51.0.0.0/16 via 192.168.1.9 table 100`)
	awaitOwn(t, "2a0e:1::2", "2a0e:5::1")
	cfg := config(wireguard("vpn", "wg0"))
	cfg.Exclude = []netip.Prefix{netip.MustParsePrefix("47.0.0.0/8")}
	got, err := LocalNetworks(cfg)
	if err != nil {
		t.Fatal(err)
	}
	because := map[string]string{}
	for _, n := range got.Networks {
		because[n.String()] = n.Because
	}
	delete(because, "fe80::/64 dev "+strings.Join(got.Networks[slices.IndexFunc(got.Networks, func(n Network) bool { return n.Prefix.String() == "fe80::/64" })].Links, ""))
	want := map[string]string{
		"31.0.1.0/24 dev wan0": "connected", "2a0e:1::/64 dev wan0": "connected", "192.168.1.0/24 dev lan0": "connected", "fd00:1::/64 dev lan0": "connected",
		"45.1.0.0/16 dev lan0": "connected", "2a0e:5::/56 dev lan0": "connected", "172.20.0.0/24 dev srv0": "connected",
		"10.0.0.0/8 via 192.168.1.9 dev lan0": "special use, kernel route in main", "fd00:77::/48 via fd00:1::9 dev lan0": "special use, kernel route in main",
		"100.64.0.0/10 via 31.0.1.1 dev wan0": "special use, kernel route in main", "fd99::/48 via fe80::1 dev wan0": "special use, kernel route in main",
		"45.9.0.0/16 via 192.168.1.9 dev lan0": "kernel route in main, on lan", "2a0e:9::/32 via fe80::9 dev lan0": "kernel route in main, on lan",
		"47.0.0.0/16 via 31.0.1.1 dev wan0": "in exclude", "50.0.0.0/16": "refused by table main", "2a0e:50::/48": "refused by table main",
	}
	if !maps.Equal(because, want) {
		t.Errorf("local:\n%v\nwant\n%v", lines(because), lines(want))
	}
	not := map[string]string{}
	for _, n := range got.Others {
		not[n.String()] = n.Because
	}
	wantNot := map[string]string{
		"64.0.0.0/2 via 31.0.1.1 dev wan0": "leaves by the WAN", "130.0.0.7/32 via 31.0.1.1 dev wan0": "leaves by the WAN", "131.0.0.0/24 dev wan0": "leaves by the WAN",
		"2a00::/12 via fe80::1 dev wan0": "leaves by the WAN", "2a0f::7/128 dev wan0": "leaves by the WAN",
		"45.1.128.0/17 via 31.0.1.1 dev wan0": "leaves by the WAN", "2a0e:5:0:80::/57 via fe80::1 dev wan0": "leaves by the WAN",
		"46.0.0.0/16 via 172.20.0.9 dev srv0": "leaves by an interface that is not in lan", "48.0.0.0/16 dev lan0 dev wan0": "leaves by the WAN",
	}
	if !maps.Equal(not, wantNot) || got.More != 0 {
		t.Errorf("not local:\n%v\nwant\n%v\nand %d more", lines(not), lines(wantNot), got.More)
	}
	wantCovered(t, got, "127.0.0.9 ::1 31.0.1.2 31.0.1.255 10.8.0.2 fd00:8::2 31.0.1.1 192.168.1.7 10.1.2.3 45.1.127.255 2a0e:5::1 45.9.1.1 47.0.3.3 100.64.7.7 fe80::1",
		"1.1.1.1 130.0.0.7 45.1.128.0 2a0e:5:0:80::1 2a0f::7 46.0.0.1 48.0.0.1 10.8.0.3 fd00:8::3 10.77.1.1 10.98.0.1 49.0.0.1 51.0.0.1 64.0.0.1 47.1.0.1 50.0.1.1 2a0e:50::1")
	wantIn(t, got.thrown(gateway.Egress{}), "50.0.1.1 2a0e:50::1 45.9.1.1", "51.0.0.1") // refused by table main, but not by its default
	// Of these, what is behind lan links or the box itself.
	wantIn(t, got.LAN(), "127.0.0.9 31.0.1.2 2a0e:1::2 192.168.1.7 fd00:1::7 10.1.2.3 fd00:77::7 45.1.127.255 45.9.1.1 2a0e:9::1 172.20.0.1",
		"31.0.1.1 2a0e:1::1 172.20.0.9 100.64.7.7 fd99::7 47.0.3.3 45.1.128.0 50.0.1.1 10.77.1.1 8.8.8.8")
}

func lines(m map[string]string) string {
	var out []string
	for k, v := range m {
		out = append(out, k+": "+v)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func wantCovered(t *testing.T, l Local, in, out string) { t.Helper(); wantIn(t, l.Prefixes(), in, out) }

func wantIn(t *testing.T, prefixes []netip.Prefix, in, out string) {
	t.Helper()
	covered := func(s string) bool {
		a := netip.MustParseAddr(s)
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for s := range strings.FieldsSeq(in) {
		if !covered(s) {
			t.Errorf("%s is not local", s)
		}
	}
	for s := range strings.FieldsSeq(out) {
		if covered(s) {
			t.Errorf("%s is local", s)
		}
	}
}

// A WAN whose own network is the internet, or a resolver that everybody knows, does not
// make that local; its router is.
func TestImplausibleNetworks(t *testing.T) {
	for _, c := range []struct {
		set, router, far string // an address that is local, one that must not be
		because          string
	}{
		{"ip addr flush dev wan0; ip addr add 45.0.0.2/8 dev wan0; ip route replace default via 45.0.0.1", "45.0.0.1 45.0.0.2", "45.7.7.7", "larger than any uplink's network, shorter than /18"},
		{"ip addr flush dev wan0; ip addr add 70.0.0.2/2 dev wan0", "70.0.0.2", "64.7.7.7", "larger than any uplink's network, shorter than /18"},
		{"ip addr add 8.8.8.2/24 dev wan0", "8.8.8.2", "8.8.8.8", "no uplink's network holds the public resolver 8.8.8.8"},
		{"ip -6 addr add 2620:fe::2/64 dev wan0 nodad", "2620:fe::2", "2620:fe::fe", "no uplink's network holds the public resolver 2620:fe::fe"},
		{"ip -6 addr add 2a0e:1::2/32 dev wan0 nodad; ip -6 route replace default via 2a0e:1::1", "2a0e:1::1", "2a0e:1:7::1", "larger than any uplink's network, shorter than /48"},
		{"ip route add 44.0.0.0/7 via 192.168.1.9", "192.168.1.9", "45.7.7.7", "larger than any network on lan, shorter than /8"},
	} {
		lab(t)
		run(t, c.set)
		if _, after, ok := strings.Cut(c.set, "-6 addr add "); ok {
			address, _, _ := strings.Cut(after, "/")
			awaitOwn(t, address)
		}
		got, err := LocalNetworks(config())
		if err != nil {
			t.Fatal(err)
		}
		wantCovered(t, got, c.router, c.far)
		if i := slices.IndexFunc(got.Others, func(n Network) bool { return n.Because == c.because }); i < 0 {
			t.Errorf("%s: %+v, want %q", c.set, got.Others, c.because)
		} else if suspect := strings.Contains(c.set, "addr add"); got.Others[i].Suspect != suspect {
			t.Errorf("%s: suspect %v", c.set, !suspect)
		}
	}
}

func TestLocalIsBounded(t *testing.T) {
	lab(t)
	run(t, "for i in $(seq 1 4096); do echo route add 198.18.$((i/256)).$((i%256))/32 via 192.168.1.9; done | ip -batch -")
	for _, c := range []struct {
		add           string
		more, tooMany int
		local         bool
	}{
		{"", 0, 0, true}, // at the bound
		{"ip route add 198.19.0.1/32 via 192.168.1.9", 0, 4097, false},
		{"ip route del 198.19.0.1/32", 0, 0, true},
		// What leaves by the WAN is not bounded.
		{"for i in $(seq 0 4999); do echo route add 45.0.$((i/256)).$((i%256))/32 via 192.0.2.1; done | ip -batch -", 5000 - maxOthers, 0, true},
	} {
		if c.add != "" {
			run(t, c.add)
		}
		got, err := LocalNetworks(config())
		if err != nil {
			t.Fatal(err)
		}
		if got.TooMany != c.tooMany || got.More != c.more {
			t.Errorf("%.40s: too many %d, more %d", c.add, got.TooMany, got.More)
		}
		in, out := "192.168.1.7 198.18.0.1", "198.18.99.1"
		if !c.local {
			in, out = "192.168.1.7", "198.18.0.1 198.18.99.1"
		}
		wantCovered(t, got, in, out)
	}
}

func TestCarve(t *testing.T) {
	prefixes := func(s string) (out []netip.Prefix) {
		for w := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParsePrefix(w))
		}
		return out
	}
	for _, c := range []struct{ local, holes, want string }{
		{"", "", ""},
		{"10.0.0.0/8 10.1.0.0/16 192.168.0.0/16", "", "10.0.0.0/8 192.168.0.0/16"},
		{"10.0.0.0/8", "9.0.0.0/8 11.0.0.0/8 8.0.0.0/5 0.0.0.0/1", "10.0.0.0/8"},
		{"45.0.0.0/30", "45.0.0.1/32", "45.0.0.0/32 45.0.0.2/31"},
		{"45.0.0.0/30 45.0.0.1/32", "45.0.0.0/31", "45.0.0.1/32 45.0.0.2/31"},
		{"45.0.0.0/31", "45.0.0.0/32 45.0.0.1/32", ""},
		{"2a0e::/126 45.0.0.0/24", "2a0e::3/128 2a0e::/128", "45.0.0.0/24 2a0e::1/128 2a0e::2/128"},
	} {
		local, holes := map[netip.Prefix]candidate{}, []hole{}
		for _, p := range prefixes(c.local) {
			local[p] = candidate{}
		}
		for _, p := range prefixes(c.holes) {
			holes = append(holes, hole{prefix: p})
		}
		if got := carve(local, holes); !slices.Equal(got, prefixes(c.want)) {
			t.Errorf("%q without %q: %v, want %s", c.local, c.holes, got, c.want)
		}
	}
	// Of two kernel routes to one network the kernel prefers that of the smaller metric.
	p := prefixes("45.0.0.0/24")[0]
	for metric, want := range map[uint32]int{99: 0, 100: 1, 101: 1} {
		if got := carve(map[netip.Prefix]candidate{p: {metric: 100}}, []hole{{p, metric}}); len(got) != want {
			t.Errorf("metric %d: %v", metric, got)
		}
	}
	if f := gateway.FamilyOf(p.Addr()); gateway.Suppressed(f) != 1 {
		t.Error(f)
	}
}
