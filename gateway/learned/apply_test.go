package learned

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// small is a spec with one route.
func small() firewall.Spec {
	return firewall.Spec{
		Config:   config(route("vpn", 1)),
		Egress:   map[string]firewall.Egress{"vpn": {Links: []string{"wg0"}, Inbound: true, Source: firewall.Source{SNAT4: addr("10.2.0.2")}, MTU: 1420}},
		WANLinks: []string{"eth0"},
		Local:    prefixes("192.168.1.0/24", "fd01::/64"),
	}
}

var vpn = firewall.Pair(route("vpn", 1))

func TestApplyTwice(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		applyTwice(t, k, full())
		if got := k.Features().Mode; got != m {
			t.Errorf("mode %s", got)
		}
	})
}

// TestApplyRepairs: whatever is done to an ordinary table by hand, the next Apply
// restores exactly what is wanted, and learned elements stay.
func TestApplyRepairs(t *testing.T) {
	for _, c := range []struct{ name, by string }{
		{"rule deleted", `nft delete rule inet nameroute classify handle $(nft -a list chain inet nameroute classify | sed -n 's/.*special-use.*handle //p' | head -1)`},
		{"rule altered, comment kept", `nft replace rule inet nameroute kill_switch handle $(nft -a list chain inet nameroute kill_switch | sed -n 's/.*handle //p' | tail -1) 'counter accept comment "vpn: kill switch"'`},
		{"rule inserted", `nft insert rule inet nameroute output accept`},
		{"rule added", `nft add rule inet nameroute input counter`},
		{"rules swapped", `nft -a list chain inet nameroute prerouting; H=$(nft -a list chain inet nameroute prerouting | sed -n 's/.*jump classify.*handle //p'); nft delete rule inet nameroute prerouting handle $H; nft insert rule inet nameroute prerouting jump classify comment '"everything else is classified"'`},
		{"chain flushed", `nft flush chain inet nameroute classify`},
		{"chain deleted", `nft flush chain inet nameroute input; nft delete chain inet nameroute input`},
		{"policy drop", `nft chain inet nameroute input '{ policy drop; }'`},
		{"chain of another hook", `nft flush chain inet nameroute mss_in; nft delete chain inet nameroute mss_in; nft add chain inet nameroute mss_in '{ type filter hook input priority 5; }'`},
		{"foreign chain and rules", `nft add chain inet nameroute theirs; nft add chain inet nameroute more; nft add rule inet nameroute theirs jump more; nft add rule inet nameroute more tcp dport '{ 1, 2 }' drop`},
		{"foreign set and a rule that uses it", `nft add set inet nameroute theirs '{ type ipv4_addr; }'; nft add rule inet nameroute input ip saddr @theirs drop`},
		{"keep emptied", `nft flush set inet nameroute exclude4`},
		{"prefix widened", `nft delete element inet nameroute exclude4 '{ 192.168.1.0/24 }'; nft add element inet nameroute exclude4 '{ 192.168.0.0/16, 1.0.0.0/8 }'`},
		{"prefix inside a prefix", `nft delete element inet nameroute special4 '{ 10.0.0.0/8 }'; nft add element inet nameroute special4 '{ 10.1.0.0/16, 10.3.0.0/16 }'`},
		{"set of another type", `nft flush chain inet nameroute local; nft flush chain inet nameroute classify; nft flush chain inet nameroute kill_switch; nft delete set inet nameroute vpn4p; nft add set inet nameroute vpn4p '{ type ether_addr; }'`},
		{"learned set of another size", `nft flush chain inet nameroute local; nft flush chain inet nameroute classify; nft flush chain inet nameroute kill_switch; nft delete set inet nameroute vpn6; nft add set inet nameroute vpn6 '{ type ipv6_addr; flags timeout; size 7; }'`},
		{"dormant", `nft add table inet nameroute '{ flags dormant; }'`},
		{"table deleted", `nft delete table inet nameroute`},
		{"ruleset flushed", `nft flush ruleset`},
		{"base chain made a plain one", `nft flush chain inet nameroute output; nft delete chain inet nameroute output; nft add chain inet nameroute output`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := open(t, Options{Force: nft.ModePlain})
			apply(t, k, small())
			want := listTable(t)
			learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
			// Without the watch: what Apply repairs by itself.
			if err := k.do(t.Context(), func() error { k.stopWatch(); return nil }); err != nil {
				t.Fatal(err)
			}
			sh(t, "%s", c.by)
			if n := apply(t, k, small()); n == 0 {
				t.Error("no changes")
			}
			if n := apply(t, k, small()); n != 0 {
				t.Errorf("%d changes the second time", n)
			}
			for _, s := range []string{"vpn4 '{ 8.8.8.8 }'", "vpn6 '{ 2606:4700::1 }'"} {
				sh(t, "nft get element inet nameroute %s; nft delete element inet nameroute %s", s, s)
			}
			if diff := cmp.Diff(blocks(want), blocks(listTable(t))); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}

// blocks are the sets and chains of a listing, sorted: what was made again is listed last.
func blocks(list string) []string {
	b := strings.Split(strings.TrimSuffix(list, "}\n"), "\n\n\t")
	for i := range b {
		b[i] = strings.TrimSpace(strings.TrimPrefix(b[i], "table inet nameroute {\n"))
	}
	slices.Sort(b)
	return b
}

// TestApplyChanges: routes, sizes and prefixes come and go, and nothing else moves.
func TestApplyChanges(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		s := small()
		applyTwice(t, k, s)
		learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
		handle := func() string {
			return sh(t, `nft -a list chain inet nameroute kill_switch | sed -n 's/.*to the box itself.*handle //p'`)
		}
		before := handle()

		office := route("office", 2)
		s.Config = config(s.Config.Routes[0], office)
		applyTwice(t, k, s)
		learn(t, k, firewall.Pair(office), time.Hour, "9.9.9.9", "2620:fe::fe")
		if handle() != before {
			t.Error("a rule that did not change was replaced")
		}

		s.Config.SetSize = 100
		applyTwice(t, k, s)
		if left, ok := k.Remaining(vpn.Set4, addr("8.8.8.8")); !ok || left < 59*time.Minute {
			t.Errorf("remaining %v %v", left, ok)
		}
		list := sh(t, "nft list set inet nameroute vpn4; nft list set inet nameroute office6")
		for _, want := range []string{"size 100", "8.8.8.8 timeout", "2620:fe::fe timeout"} {
			if !strings.Contains(list, want) {
				t.Errorf("lacks %q:\n%s", want, list)
			}
		}

		s.Config = config(s.Config.Routes[0])
		s.Config.SetSize = 100
		applyTwice(t, k, s)
		if out, err := try("nft list set inet nameroute office4"); err == nil {
			t.Errorf("a removed route's set is there:\n%s", out)
		}
		if err := learnInto(k, t.Context(), firewall.Pair(office), addrs("9.9.9.9"), time.Second, time.Second); !errors.Is(err, nft.ErrNoSet) {
			t.Errorf("learn for a removed route: %v", err)
		}
	})
}

// TestManyPrefixes loads and changes sets that need many transactions.
func TestManyPrefixes(t *testing.T) {
	k := open(t, Options{})
	s := small()
	var ps []netip.Prefix
	for i := range 5000 {
		ps = append(ps, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(20 + i>>12), byte(i >> 4), byte(i << 4), 0}), 21))
		ps = append(ps, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 8), byte(i), 5}), 47))
	}
	for _, n := range []int{len(ps), 100, len(ps) / 2, 0, len(ps)} {
		s.Prefixes = map[string][]netip.Prefix{"vpn": ps[len(ps)-n:]}
		applyTwice(t, k, s)
		if diff := cmp.Diff(blocks(firewall.Desired(s).String()), blocks(listUnowned(t))); diff != "" {
			t.Fatalf("%d prefixes:\n%s", n, diff)
		}
	}
}

// TestOwned: while we live no other program changes the table; when we are gone it stays, and the
// next one adopts it with all that was learned.
func TestOwned(t *testing.T) {
	k := open(t, Options{})
	if f := k.Features(); !f.Owner || !f.Persist || f.Mode != nft.ModeOwned {
		t.Skipf("this kernel has no persistent owned tables: %+v", f)
	}
	applyTwice(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	learn(t, k, vpn, 90*time.Second, "8.8.4.4")
	for _, by := range []string{
		"nft delete table inet nameroute", "nft add element inet nameroute vpn4 '{ 1.1.1.1 }'",
		"nft delete element inet nameroute vpn4 '{ 8.8.8.8 }'", "nft flush chain inet nameroute kill_switch",
		"nft add table inet nameroute '{ flags dormant; }'",
	} {
		if out, err := try("%s", by); err == nil || !strings.Contains(out, "not permitted") && !strings.Contains(out, "not supported") {
			t.Errorf("%s: %v %s", by, err, out)
		}
	}
	sh(t, "nft flush ruleset")
	if n := apply(t, k, small()); n != 0 {
		t.Errorf("a flush changed %d things", n)
	}

	other := openMore(t, Options{})
	if _, err := other.Apply(t.Context(), firewall.Desired(small())); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process: %v", err)
	}
	if err := other.Remove(t.Context()); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process removes: %v", err)
	}

	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if n := apply(t, other, small()); n != 0 {
		t.Errorf("adoption changed %d things", n)
	}
	if left, ok := other.Remaining(vpn.Set4, addr("8.8.4.4")); !ok || left > 90*time.Second || left < 80*time.Second {
		t.Errorf("8.8.4.4 remains %v %v", left, ok)
	}
	if left, ok := other.Remaining(vpn.Set6, addr("2606:4700::1")); !ok || left < 59*time.Minute {
		t.Errorf("2606:4700::1 remains %v %v", left, ok)
	}
	if out, err := try("nft delete table inet nameroute"); err == nil {
		t.Errorf("the adopted table is not owned: %s", out)
	}
	if err := other.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft list tables"); out != "" {
		t.Errorf("left: %s", out)
	}
	if err := other.Remove(t.Context()); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
}

// TestModeChange: an ordinary table becomes an owned one, and the other way round,
// without losing a learned address.
func TestModeChange(t *testing.T) {
	first := open(t, Options{Force: nft.ModePlain})
	applyTwice(t, first, full())
	guarded := nft.ModeOwned
	if !first.Features().Persist {
		guarded = nft.ModeReplica
	}
	pair := firewall.Pair(full().Config.Routes[0])
	var as []netip.Addr
	for i := range 3000 {
		as = append(as, netip.AddrFrom4([4]byte{8, 1, byte(i >> 8), byte(i)}))
	}
	if err := learnInto(first, t.Context(), pair, as, time.Hour, time.Hour); err != nil {
		t.Fatal(err)
	}
	before := first
	for _, m := range []nft.Mode{guarded, nft.ModePlain, guarded} {
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		k := openMore(t, Options{Force: m})
		applyTwice(t, k, full())
		elems, err := nft.ReadElements(pair.Set4)
		if err != nil || len(elems) != len(as) {
			t.Fatalf("%s: %d elements, %v", m, len(elems), err)
		}
		before = k
	}
}

// TestStopped: the counters survive a change of their rule.
func TestStopped(t *testing.T) {
	k := open(t, Options{})
	if got, err := stoppedBy(); err != nil || len(got) != 0 {
		t.Errorf("without a table: %v, %v", got, err)
	}
	s := small()
	apply(t, k, s)
	sh(t, `ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; ip addr add 198.18.0.1/24 dev d0; ip route add default via 198.18.0.2; ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev d0`)
	t.Cleanup(func() { sh(t, "ip link del d0") })
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	_, _ = try("ping -c 3 -i 0.01 -W 0.2 8.8.8.8")
	check := func() {
		t.Helper()
		got, err := stoppedBy()
		if want := (map[string]nft.Counter{"vpn": {Packets: 3, Bytes: 3 * 84}}); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("stopped %v, %v", got, err)
		}
	}
	check()
	s.Egress = map[string]firewall.Egress{"vpn": {Links: []string{"wg0", "wg1"}, Inbound: true}}
	applyTwice(t, k, s)
	check()
}

func TestApplyEnds(t *testing.T) {
	k := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Apply(ctx, firewall.Desired(small())); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Apply(t.Context(), firewall.Desired(small())); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if got, want := fmt.Sprint(learnInto(k, t.Context(), vpn, addrs("8.8.8.8"), 1, 1)), "nft: closed"; got != want {
		t.Errorf("closed: %s", got)
	}
}
