package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// A tunnel's own networks are reached through it, but for what is local.
func TestTunnelNetworks(t *testing.T) {
	k := lab(t)
	run(t, "ip addr flush dev wg0; ip addr add 10.8.0.2/24 dev wg0 noprefixroute; ip addr add fd00:8::2/64 dev wg0 nodad noprefixroute")
	cfg := config(wireguard("vpn", "wg0"))
	networks := func(s string) (out []netip.Prefix) {
		for p := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	set := func(s string) []string {
		t.Helper()
		now := read(t, k, cfg)
		now.Inputs.Networks = map[string][]netip.Prefix{"vpn": networks(s)}
		want := Desired(cfg, now.Inputs)
		changes, err := k.Apply(now.State, want)
		if err != nil {
			t.Fatal(err)
		}
		if after := read(t, k, cfg).State.String(); after != want.String()[:len(after)] {
			t.Errorf("read:\n%s\nwant:\n%s", after, want)
		}
		return changes
	}
	set("10.8.0.2/24 10.8.0.3/24 10.9.0.2/32 192.168.1.200/24 192.0.2.77/23 fd00:8::2/64 fd00:1::200/64")
	out := run(t, "ip rule; ip -6 rule")
	for _, want := range []string{
		"7201:	from all to 10.8.0.0/24 fwmark 0/0x7f000000 lookup 7201 proto 110", "7201:	from all to fd00:8::/64 fwmark 0/0x7f000000 lookup 7201 proto 110",
	} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	none := gateway.Mark{}
	wantEgress(t, none, "wg0", "10.8.0.9", "fd00:8::9", "192.0.3.9")
	wantEgress(t, none, "lan0", "192.168.1.9", "fd00:1::9")
	wantEgress(t, none, "wan0", "192.0.2.9", "10.9.0.9", "203.0.113.7", "2001:db8:ffff::7")
	wantEgress(t, cfg.WANRoute().Mark, "lan0", "192.168.1.9", "fd00:1::9")
	if again := set("10.8.0.2/24 10.8.0.3/24 10.9.0.2/32 192.168.1.200/24 192.0.2.77/23 fd00:8::2/64 fd00:1::200/64"); len(again) > 0 {
		t.Errorf("a second apply changed: %q", again)
	}
	set("10.8.0.2/0 45.0.0.2/17 8.8.8.2/24 fd00:8::2/0 2a0e::2/47 10.9.0.2/8 fd00:9::2/48")
	wantEgress(t, none, "wan0", "203.0.113.7", "45.0.0.9", "8.8.8.9", "2001:db8:ffff::7", "2a0e::9")
	wantEgress(t, none, "wg0", "10.9.0.9", "fd00:9::9")
	// A link gets its address and its gateway at once.
	run(t, "ip addr add 10.9.7.2/24 dev wan0; ip route add 203.0.113.0/24 via 10.9.7.1; ip route del 203.0.113.0/24; ip addr del 10.9.7.2/24 dev wan0")
	run(t, "ip addr add 10.9.7.2/24 dev wan0; ip route get 10.9.7.1 | grep -q 'dev wan0'; ip addr del 10.9.7.2/24 dev wan0")
	run(t, "ip link set wg0 down")
	set("10.8.0.2/24 fd00:8::2/64")
	wantEgress(t, none, "no route to host", "10.8.0.9", "fd00:8::9")
	set("")
	wantEgress(t, none, "wan0", "10.8.0.9", "fd00:8::9")
}
