package learned

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// full is a spec with everything in it.
func full() firewall.Spec {
	vpn, office, shared := route("vpn", 0x51), route("office", 2), route("shared", 3)
	vpn.OnDown = gateway.FallBack
	office.LearnPrivate = true
	office.Evict = true
	c := config(vpn, office, shared)
	c.Exclude = prefixes("9.9.9.0/24", "2620:fe::/48")
	return firewall.Spec{
		Config: c,
		Egress: map[string]firewall.Egress{
			"vpn":    {Links: []string{"wg0"}, Inbound: true, Source: firewall.Source{SNAT4: addr("10.2.0.2"), SNAT6: addr("fd00::2")}, MTU: 1420},
			"office": {Links: []string{"tun1", "tun0"}, Inbound: true, Source: firewall.Source{Masquerade: true}, MTU: 1400},
			"shared": {Links: []string{"br-lan"}, Source: firewall.Source{SNAT4: addr("192.168.1.1")}},
		},
		WANLinks: []string{"eth0"},
		Local:    prefixes("192.168.1.0/24", "192.168.2.0/24", "192.168.3.0/24", "203.0.113.5/32", "fd01::/64", "2001:db8::1/128"),
		Prefixes: map[string][]netip.Prefix{"vpn": prefixes("91.108.4.0/22", "91.108.8.0/22", "91.108.12.0/24", "2001:67c:4e8::/48"), "office": prefixes("10.9.0.0/16")},
		Listeners: []firewall.Listener{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53},
			{Addr: addr("192.168.1.1"), Proto: "tcp", Port: 853}, {Addr: addr("fd01::1"), Proto: "udp", Port: 5353}},
	}
}

// TestPrintedTable compares the text that we print of a table with everything in it and
// the one that nft prints of the kernel's.
func TestPrintedTable(t *testing.T) {
	want := firewall.Desired(full())
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, full())
		got := listUnowned(t)
		if diff := cmp.Diff(want.String(), got); diff != "" {
			t.Errorf("-Table.String() +nft list table:\n%s", diff)
		}
	})
}

// TestUpgrade: the table that commit 107f16b made, with other names for chains and sets,
// becomes ours, and no learned address is lost.
func TestUpgrade(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		sh(t, "nft -f testdata/107f16b.nft")
		applyTwice(t, k, full())
		vpn, office := firewall.Pair(full().Config.Routes[0]), firewall.Pair(full().Config.Routes[1])
		for _, want := range []struct {
			set  nft.SetRef
			addr string
			left time.Duration
		}{
			{vpn.Set4, "8.8.8.8", 50 * time.Minute}, {vpn.Set4, "8.8.4.4", 20 * time.Hour},
			{vpn.Set6, "2606:4700::1", 59 * time.Minute}, {office.Set4, "10.9.8.7", 90 * time.Minute},
		} {
			if left, ok := k.Remaining(want.set, addr(want.addr)); !ok || !about(left, want.left) {
				t.Errorf("%s in set %s: %v %v, want %v", want.addr, want.set, left, ok, want.left)
			}
			if left := inKernel(t, k, want.set, want.addr); !about(left, want.left) {
				t.Errorf("%s in the kernel's set %s: %v, want %v", want.addr, want.set, left, want.left)
			}
			sh(t, "nft delete element inet nameroute %s '{ %s }' || :", want.set.Name, want.addr)
		}
		if m != nft.ModePlain {
			return // an owned table's elements cannot be deleted
		}
		if diff := cmp.Diff(blocks(firewall.Desired(full()).String()), blocks(listTable(t))); diff != "" {
			t.Errorf("-Table.String() +nft list table:\n%s", diff)
		}
	})
}

// listUnowned is the table's listing without its owner. nft 1.0.6 shows neither the flag
// persist nor the owner's name.
func listUnowned(t *testing.T) string {
	t.Helper()
	return strings.Replace(listTable(t), fmt.Sprintf("table inet nameroute { # progname %s\n\tflags owner\n\n", progname()), "table inet nameroute {\n", 1)
}

func progname() string {
	b, _ := os.ReadFile("/proc/self/comm")
	return strings.TrimSpace(string(b))
}
