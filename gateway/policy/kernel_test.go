package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nameroute/nameroute/gateway"
)

// golden is what ip(8) shows of one WireGuard route and the WAN.
const golden = `# ip -4 rule
7200:	from all fwmark 0x7f000000/0x7f000000 lookup main suppress_prefixlength 1 proto 110
7201:	from all fwmark 0x1000000/0x7f000000 lookup 7201 proto 110
7327:	from all fwmark 0x7f000000/0x7f000000 lookup 7327 proto 110
7328:	not from all fwmark 0/0x7f000000 lookup main suppress_prefixlength 1 proto 110
7329:	not from all fwmark 0/0x7f000000 unreachable proto 110
# ip -6 rule
7200:	from all fwmark 0x7f000000/0x7f000000 lookup main suppress_prefixlength 7 proto 110
7201:	from all fwmark 0x1000000/0x7f000000 lookup 7201 proto 110
7327:	from all fwmark 0x7f000000/0x7f000000 lookup 7327 proto 110
7328:	not from all fwmark 0/0x7f000000 lookup main suppress_prefixlength 7 proto 110
7329:	not from all fwmark 0/0x7f000000 unreachable proto 110
# ip -4 route show table 7201
default dev wg0 proto 110 scope link metric 100
unreachable default proto 110 metric 4294967295
throw 192.0.2.0/24 proto 110 metric 100
throw 192.168.1.0/24 proto 110 metric 100
# ip -4 route show table 7327
default via 192.0.2.1 dev wan0 proto 110
unreachable default proto 110 metric 4294967295
# ip -6 route show table 7201
throw 2001:db8:1::/64 dev lo proto 110 metric 100 pref medium
throw fd00:1::/64 dev lo proto 110 metric 100 pref medium
throw fe80::/64 dev lo proto 110 metric 100 pref medium
default dev wg0 proto 110 metric 100 pref medium
unreachable default dev lo proto 110 metric 4294967295 pref medium
# ip -6 route show table 7327
default via 2001:db8:1::1 dev wan0 proto 110 metric 1024 pref medium
unreachable default dev lo proto 110 metric 4294967295 pref medium
`

func TestApplyShowsInIP(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	if d := cmp.Diff(golden, shown(t)); d != "" {
		t.Errorf("ip(8) shows (-want +got):\n%s", d)
	}
	if d := cmp.Diff(golden, read(t, k, cfg).State.String()); d != "" {
		t.Errorf("Read (-want +got):\n%s", d)
	}
	if again := apply(t, k, cfg); len(again) > 0 {
		t.Errorf("a second apply changed: %q", again)
	}
}

// Every form that a default of the WAN may have is copied as it is, and read back
// as it was written.
func TestWANForms(t *testing.T) {
	for _, c := range []struct{ name, set, want4, want6 string }{
		{"source and metric", `
ip route replace default via 192.0.2.1 dev wan0 src 192.0.2.2 metric 50
ip route del default via 192.0.2.1 dev wan0 metric 0
ip -6 route replace default via fe80::1 dev wan0 src 2001:db8:1::2 metric 50
ip -6 route del default metric 1024`,
			"default via 192.0.2.1 dev wan0 proto 110 src 192.0.2.2 metric 50\n",
			"default via fe80::1 dev wan0 proto 110 src 2001:db8:1::2 metric 50 pref medium\n"},
		{"onlink and mtu", `
ip route replace default via 203.0.113.1 dev wan0 onlink mtu lock 1400
ip -6 route replace default via 2001:db8:ff::1 dev wan0 onlink mtu 1400`,
			"default via 203.0.113.1 dev wan0 proto 110 onlink mtu lock 1400\n",
			"default via 2001:db8:ff::1 dev wan0 proto 110 metric 1024 onlink mtu 1400 pref medium\n"},
		{"multipath", `
ip route replace default nexthop via 192.0.2.1 dev wan0 weight 3 nexthop via 192.0.2.9 dev wan0 nexthop via 203.0.113.1 dev wan0 onlink
ip -6 route replace default nexthop via 2001:db8:1::1 dev wan0 weight 3 nexthop via fe80::9 dev wan0`,
			"default proto 110\n\tnexthop via 192.0.2.1 dev wan0 weight 3\n\tnexthop via 192.0.2.9 dev wan0 weight 1\n\tnexthop via 203.0.113.1 dev wan0 weight 1 onlink\n",
			"default proto 110 metric 1024 pref medium\n\tnexthop via 2001:db8:1::1 dev wan0 weight 3\n\tnexthop via fe80::9 dev wan0 weight 1\n"},
		{"IPv6 gateway for IPv4", `ip -4 route replace default via inet6 fe80::1 dev wan0`,
			"default via inet6 fe80::1 dev wan0 proto 110\n",
			"default via 2001:db8:1::1 dev wan0 proto 110 metric 1024 pref medium\n"},
		{"device only, as PPP has it", `
ip route replace default dev wan0 scope link
ip -6 route del default
ip -6 route add default dev wan0 metric 5`,
			"default dev wan0 proto 110 scope link\n",
			"default dev wan0 proto 110 metric 5 pref medium\n"},
		{"two metrics", `
ip route add default via 192.0.2.9 dev wan0 metric 9
ip -6 route add default via 2001:db8:1::9 dev wan0 metric 2048`,
			"default via 192.0.2.1 dev wan0 proto 110\ndefault via 192.0.2.9 dev wan0 proto 110 metric 9\n",
			"default via 2001:db8:1::1 dev wan0 proto 110 metric 1024 pref medium\ndefault via 2001:db8:1::9 dev wan0 proto 110 metric 2048 pref medium\n"},
		{"nexthop objects", `
ip nexthop add id 7 via 192.0.2.1 dev wan0
ip nexthop add id 8 via 2001:db8:1::1 dev wan0
ip route replace default nhid 7
ip -6 route del default
ip -6 route add default nhid 8 metric 1024`,
			"default via 192.0.2.1 dev wan0 proto 110\n",
			"default via 2001:db8:1::1 dev wan0 proto 110 metric 1024 pref medium\n"},
		{"router advertisements of two routers", `
ip -6 route del default
ip -6 route add default via fe80::1 dev wan0 proto ra metric 1024 expires 600
ip -6 route append default via fe80::2 dev wan0 proto ra metric 1024 expires 600`,
			"default via 192.0.2.1 dev wan0 proto 110\n",
			"default proto 110 metric 1024 pref medium\n\tnexthop via fe80::1 dev wan0 weight 1\n\tnexthop via fe80::2 dev wan0 weight 1\n"},
		{"none", "ip route del default; ip -6 route del default", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := lab(t)
			cfg := config()
			apply(t, k, cfg) // the ordinary defaults first: the change must be followed
			run(t, c.set)
			apply(t, k, cfg)
			got := shown(t)
			for _, w := range []string{
				"# ip -4 route show table 7327\n" + c.want4 + "unreachable default proto 110 metric 4294967295\n",
				"# ip -6 route show table 7327\n" + c.want6 + "unreachable default dev lo proto 110 metric 4294967295 pref medium\n",
			} {
				if !strings.Contains(got, w) {
					t.Errorf("shown:\n%s\nwant in it:\n%s", got, w)
				}
			}
			if again := apply(t, k, cfg); len(again) > 0 {
				t.Errorf("a second apply changed: %q", again)
			}
		})
	}
}

func TestFollowsWAN(t *testing.T) {
	k := lab(t)
	run(t, `
ip link add wan1 type veth peer name isp1
sysctl -qw net.ipv6.conf.wan1.accept_dad=0
ip link set wan1 up; ip link set isp1 up
ip addr add 198.51.100.2/24 dev wan1; ip addr add 2001:db8:2::2/64 dev wan1 nodad`)
	wan := config().WANRoute().Mark
	all := []string{"203.0.113.7", "2001:db8:ffff::7"}
	any, named := config(wireguard("vpn", "wg0")), config(wireguard("vpn", "wg0"))
	named.WANLink = "wan1"
	for _, step := range []struct {
		what, do string
		cfg      *gateway.Config
		want     string
	}{
		{"as it is", "", any, "wan0"},
		{"a second WAN that is worse", "ip route add default via 198.51.100.1 metric 10; ip -6 route add default via 2001:db8:2::1 metric 2000", any, "wan0"},
		{"the first is gone", "ip link set wan0 down", any, "wan1"},
		{"it is back", "ip link set wan0 up; ip addr add 2001:db8:1::2/64 dev wan0 nodad; ip route add default via 192.0.2.1 dev wan0; ip -6 route add default via 2001:db8:1::1 dev wan0", any, "wan0"},
		{"its metric is worse now", "ip route del default dev wan0; ip -6 route del default dev wan0; ip route add default via 192.0.2.1 metric 20; ip -6 route add default via 2001:db8:1::1 metric 3000", any, "wan1"},
		{"a tunnel of ours as default of the box", "ip route add default dev wg0; ip -6 route add default dev wg0 metric 1", any, "wan1"},
		{"named", "ip route replace default via 192.0.2.1 metric 5; ip -6 route add default via 2001:db8:1::1 metric 7", named, "wan1"},
		{"not named any more", "", any, "wan0"},
		{"replaced", "ip route replace default via 198.51.100.1 metric 5; ip -6 route replace default via 2001:db8:2::1 metric 7", any, "wan1"},
	} {
		if step.do != "" {
			run(t, step.do)
		}
		apply(t, k, step.cfg)
		t.Log(step.what)
		wantEgress(t, wan, step.want, all...)
		if again := apply(t, k, step.cfg); len(again) > 0 {
			t.Errorf("a second apply changed: %q", again)
		}
	}
	run(t, "ip link del wan0; ip link del wan1")
	apply(t, k, any)
	wantEgress(t, wan, "no route to host", all[0])
	wantEgress(t, wan, "no route to host", all[1])
}

// The kernel is asked for its own routing decision.
func TestMarkedPacketsTakeTheirRoute(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"), wireguard("other", "wg1"))
	apply(t, k, cfg)
	vpn, other, wan := cfg.Routes[0].Mark, cfg.Routes[1].Mark, cfg.WANRoute().Mark
	public := []string{"203.0.113.7", "130.0.0.1", "2001:db8:ffff::7", "3fff::1", "fc00:5::1"}
	check := func(what string) {
		t.Helper()
		t.Log(what)
		wantEgress(t, vpn, "wg0", public...)
		wantEgress(t, wan, "wan0", public...)
		wantEgress(t, vpn, "wg0", "10.8.0.9", "fd00:8::9")
		wantEgress(t, wan, "wg0", "10.8.0.9", "fd00:8::9")
		wantEgress(t, other, "no route to host", "10.8.0.9", "fd00:8::9") // another route's network
		wantEgress(t, other, "no route to host", public...)               // its interface is not there: the backstop
		for _, m := range []gateway.Mark{vpn, other, wan} {
			wantEgress(t, m, "lan0", "192.168.1.77", "fd00:1::77") // local networks stay local
			wantEgress(t, m, "wan0", "192.0.2.9", "2001:db8:1::9")
			wantEgress(t, m, "lo", "192.168.1.1", "fd00:1::1", "10.8.0.2") // own addresses
		}
	}
	check("plain")
	run(t, `
ip link add tun9 type veth peer name tun9p; ip link set tun9 up; ip link set tun9p up
ip addr add 10.9.0.2/24 dev tun9; ip addr add fd00:9::2/64 dev tun9 nodad
for p in 0.0.0.0/1 128.0.0.0/1; do ip route add $p via 10.9.0.1; done
for p in ::/3 2000::/4 3000::/4 fc00::/7; do ip -6 route add $p dev tun9; done`)
	apply(t, k, cfg)
	check("with OpenVPN's half-defaults in table main")
	wantEgress(t, gateway.Mark{}, "tun9", public...) // unmarked packets are OpenVPN's
	wantEgress(t, vpn, "tun9", "10.9.0.7", "fd00:9::7")

	run(t, "ip link del wg0")
	wantEgress(t, vpn, "no route to host", public...) // before anything is applied
	apply(t, k, cfg)
	wantEgress(t, vpn, "no route to host", public...)
	wantEgress(t, wan, "wan0", public...)
}

func TestOtherProgramsRulesAndRoutesStay(t *testing.T) {
	k := lab(t)
	run(t, `
for f in -4 -6; do
ip $f rule add pref 7200 fwmark 0x5/0xff lookup 7201
ip $f rule add pref 51 fwmark 0x1000000/0x7f000000 lookup 7201 proto 99
ip $f rule add pref 7327 not fwmark 0/0x7f000000 lookup main
ip $f route add unreachable default table 100
ip $f route add blackhole default table 7201 metric 77 proto 99
ip $f route add default dev lan0 table 7201 metric 78 proto static
done`)
	foreign := func() string {
		return run(t, "for f in -4 -6; do ip $f rule | grep -v 'proto 110'; ip $f route show table all | grep -v 'proto 110'; done")
	}
	before := foreign()
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	if d := cmp.Diff(before, foreign()); d != "" {
		t.Errorf("Apply changed what is not ours (-before +after):\n%s", d)
	}
	if again := apply(t, k, cfg); len(again) > 0 {
		t.Errorf("a second apply changed: %q", again)
	}
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, foreign()); d != "" {
		t.Errorf("Remove changed what is not ours (-before +after):\n%s", d)
	}
	if left := run(t, "for f in -4 -6; do ip $f rule; ip $f route show table all; done | grep 'proto 110' || true"); left != "" {
		t.Errorf("Remove left:\n%s", left)
	}
	// A kernel route of another program in the place of ours is an error, and stays.
	run(t, "ip route add blackhole default table 7201 metric 100")
	now := read(t, k, cfg)
	changes, err := k.Apply(now.State, Desired(cfg, now.Inputs))
	const want = "add -4 route default dev wg0 proto 110 scope link metric 100 table 7201: file exists"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if !contains(changes, "add -6 route default dev wg0") {
		t.Errorf("the error stopped other changes: %q", changes)
	}
	if out := run(t, "ip route show table 7201"); !strings.Contains(out, "blackhole default metric 100") {
		t.Errorf("overwritten:\n%s", out)
	}
}

func TestRouteRemovedAndRenumbered(t *testing.T) {
	k := lab(t)
	two := config(wireguard("vpn", "wg0"), wireguard("other", "wg1"))
	apply(t, k, two)
	changes := apply(t, k, config(wireguard("vpn", "wg0")))
	if d := cmp.Diff(golden, shown(t)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(changes) != 4+5 { // a rule and a backstop of each family, and what is local
		t.Errorf("changes: %q", changes)
	}
	renumbered := config(wireguard("x", "none"), wireguard("vpn", "wg0"))
	renumbered.Routes = renumbered.Routes[1:]
	apply(t, k, renumbered)
	if got := shown(t); strings.Contains(got, "7201") {
		t.Errorf("the old table is still there:\n%s", got)
	}
	wantEgress(t, renumbered.Routes[0].Mark, "wg0", "203.0.113.7", "2001:db8:ffff::7")
}

func TestClosedRoute(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	now := read(t, k, cfg)
	in := now.Inputs
	in.Closed = map[string]string{"vpn": "no handshake for 180 s"}
	want := Desired(cfg, in)
	if want.Waiting["vpn"] != "no handshake for 180 s" {
		t.Errorf("waiting: %v", want.Waiting)
	}
	changes, err := k.Apply(now.State, want)
	if err != nil || len(changes) != 2 {
		t.Fatalf("changes %q, error %v: want the two defaults deleted", changes, err)
	}
	wantEgress(t, cfg.Routes[0].Mark, "no route to host", "203.0.113.7", "2001:db8:ffff::7")
	wantEgress(t, cfg.Routes[0].Mark, "lan0", "192.168.1.77", "fd00:1::77")
	states, err := Routes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantStates := map[string]RouteState{
		"vpn": {},
		"wan": {Default4: true, Default6: true, Links: []string{"wan0"}, MTU: 1500},
	}
	if d := cmp.Diff(wantStates, states, cmpopts.IgnoreFields(RouteState{}, "Defaults")); d != "" {
		t.Errorf("Routes (-want +got):\n%s", d)
	}
}

// A kernel without IPv6 gets the rules and routes of IPv4 without an error.
func TestWithoutIPv6(t *testing.T) {
	k := lab(t)
	k.families = []gateway.Family{gateway.V4}
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	want, _, _ := strings.Cut(golden, "# ip -6 rule")
	_, tables, _ := strings.Cut(golden, "# ip -4 route show table 7201")
	tables, _, _ = strings.Cut(tables, "# ip -6 route show table 7201")
	if d := cmp.Diff(want+"# ip -4 route show table 7201"+tables, shown(t)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if now := read(t, k, cfg); !now.State.Blocks(Desired(cfg, now.Inputs)) {
		t.Errorf("does not block:\n%s", now.State)
	}
	if again := apply(t, k, cfg); len(again) > 0 {
		t.Errorf("a second apply changed: %q", again)
	}
}

func TestBlocks(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	want := Desired(cfg, read(t, k, cfg).Inputs)
	for _, c := range []struct {
		do     string
		blocks bool
	}{
		{"true", true},
		{"ip route del default table 7201 metric 100", true}, // blocked all the more
		{"ip rule add pref 9 lookup main", true},
		{"ip -6 route del unreachable default table 7201 metric 4294967295", false},
		{"ip rule del pref 7201", false},
	} {
		run(t, c.do)
		if have := read(t, k, cfg).State; have.Blocks(want) != c.blocks {
			t.Errorf("after %s: blocks %v:\n%s", c.do, !c.blocks, have)
		}
	}
}

func TestWANIsEveryEgress(t *testing.T) {
	k := lab(t)
	cfg := config(byInterface("vpn", "wan0"))
	in := read(t, k, cfg).Inputs
	const want = "every default route of table main leaves by the interface of a route: set wan: to the name of an interface"
	if got := Desired(cfg, in).Waiting["wan"]; got != want {
		t.Errorf("waiting %q, want %q", got, want)
	}
	cfg.WANLink = "wan0"
	if got := Desired(cfg, in).Waiting; len(got) != 0 {
		t.Errorf("waiting %q", got)
	}
}
