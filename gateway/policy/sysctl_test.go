package policy

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/ipv6"
)

// snapshot is every sysctl of the network, as text.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(run(t, "sysctl -a 2>/dev/null | grep -E 'net.ipv[46].*(forward|rp_filter|accept_ra |accept_redirects)'")) {
		name, value, _ := strings.Cut(line, " = ")
		values[name] = strings.TrimSpace(value)
	}
	return values
}

func TestSysctls(t *testing.T) {
	k := lab(t)
	run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv6.conf.wan0.accept_ra=1")
	defer run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=0")
	before := snapshot(t)
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	if got := sysctl(t, forward4); got != "0" {
		t.Errorf("Apply switched forwarding on")
	}
	if _, err := k.Forward(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		forward4: "1", forward6: "1",
		"net/ipv4/conf/wg0/rp_filter":  "2",
		"net/ipv4/conf/wan0/rp_filter": "2",
		"net/ipv4/conf/lan0/rp_filter": "0", // none of our business
		"net/ipv6/conf/wan0/accept_ra": "2",
		"net/ipv6/conf/lan0/accept_ra": "1",
		"net/ipv6/conf/wg0/accept_ra":  "1",
	} {
		if got := sysctl(t, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	again, err := k.Forward()
	if again = append(again, apply(t, k, cfg)...); err != nil || len(again) > 0 {
		t.Errorf("a second apply changed %q, error %v", again, err)
	}

	// Another process, with the same state directory, puts all of it back.
	other, err := Open(filepath.Dir(k.sysctls.file))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Remove(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, snapshot(t)); d != "" {
		t.Errorf("after Remove (-before +after):\n%s", d)
	}
	if _, err := os.Stat(k.sysctls.file); !os.IsNotExist(err) {
		t.Errorf("the file of saved values is still there: %v", err)
	}
	if changes, err := other.Remove(); err != nil || len(changes) > 0 {
		t.Errorf("a second Remove changed %q, error %v", changes, err)
	}
}

// A tunnel has no reverse-path filter where it can be exempt from one.
func TestTunnelIsNotFiltered(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	for _, c := range []struct{ all, own, want string }{{"0", "1", "0"}, {"0", "2", "0"}, {"1", "1", "2"}, {"2", "0", "2"}} {
		run(t, "sysctl -qw net.ipv4.conf.all.rp_filter="+c.all+" net.ipv4.conf.wg0.rp_filter="+c.own)
		apply(t, k, cfg)
		if got := sysctl(t, "net/ipv4/conf/wg0/rp_filter"); got != c.want {
			t.Errorf("all's is %s, its own %s: it becomes %s, want %s", c.all, c.own, got, c.want)
		}
	}
	run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=0")
}

// While the WAN has IPv6 only, no source of IPv4 has a kernel route in table main.
func TestEgressIsNotFilteredWithoutIPv4(t *testing.T) {
	k := lab(t)
	cfg := config(byInterface("vpn", "wg0"))
	run(t, "sysctl -qw net.ipv4.conf.wg0.rp_filter=2")
	for _, c := range []struct{ set, want string }{
		{"ip -6 route del default; ip route del default", "2"}, // no WAN yet
		{"ip -6 route add default via 2001:db8:1::1 dev wan0", "0"},
	} {
		run(t, c.set)
		apply(t, k, cfg)
		if got := sysctl(t, "net/ipv4/conf/wg0/rp_filter"); got != c.want {
			t.Errorf("%s: %s, want %s", c.set, got, c.want)
		}
	}
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := sysctl(t, "net/ipv4/conf/wg0/rp_filter"); got != "2" {
		t.Errorf("after down: %s", got)
	}
}

// Forwarding that is disabled on one interface alone is enabled there, and in the end
// disabled again where it was before.
func TestForwardOfOneLink(t *testing.T) {
	k := lab(t)
	run(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.lan0.forwarding=0 net.ipv4.conf.isp0.forwarding=0")
	if _, err := k.Forward("lan0", "wan0", "not-there"); err != nil {
		t.Fatal(err)
	}
	if sysctl(t, "net/ipv4/conf/lan0/forwarding") != "1" || sysctl(t, "net/ipv4/conf/isp0/forwarding") != "0" {
		t.Error("want it on for lan0, and isp0 left alone")
	}
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if sysctl(t, "net/ipv4/conf/lan0/forwarding") != "0" || sysctl(t, forward4) != "1" {
		t.Error("Remove did not put it back")
	}
}

// Interfaces without a filter stay without one, and a router keeps its settings.
func TestUnneededSysctlsStay(t *testing.T) {
	k := lab(t)
	run(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	if changes, err := k.Forward(); err != nil || len(changes) > 0 {
		t.Errorf("Forward changed %q, error %v", changes, err)
	}
	for name, want := range map[string]string{
		"net/ipv4/conf/wan0/rp_filter": "0",
		"net/ipv6/conf/wan0/accept_ra": "1", // was not taken before either
	} {
		if got := sysctl(t, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if sysctl(t, forward4) != "1" || sysctl(t, forward6) != "1" {
		t.Error("Remove switched off forwarding that was on before us")
	}
}

// A WAN that appears when we have enabled forwarding accepts advertisements, too.
func TestLateWANTakesAdvertisements(t *testing.T) {
	k := lab(t)
	cfg := config()
	apply(t, k, cfg)
	if _, err := k.Forward(); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link add wan1 type veth peer name isp1; ip link set wan1 up; ip addr add 198.51.100.2/24 dev wan1; ip route add default via 198.51.100.1 metric 9")
	apply(t, k, cfg)
	if got := sysctl(t, "net/ipv6/conf/wan1/accept_ra"); got != "2" {
		t.Errorf("accept_ra = %s, want 2", got)
	}
}

// The kernel deletes defaults that it has from router advertisements when
// forwarding is enabled, and accepts no more of them, except on interfaces whose
// accept_ra is 2.
func TestForwardKeepsAdvertisedDefault(t *testing.T) {
	for _, ours := range []bool{true, false} {
		k := lab(t)
		run(t, "sysctl -qw net.ipv6.conf.wan0.accept_ra_from_local=1; ip -6 route del default")
		advertised := func() bool { return strings.Contains(run(t, "ip -6 route show default"), "dev wan0 proto ra") }
		advertise(t, "isp0")
		soon(t, "advertised default", advertised)
		if ours {
			apply(t, k, config())
			if !strings.Contains(shown(t), "default via fe80::") {
				t.Errorf("not followed:\n%s", shown(t))
			}
		}
		if _, err := k.Forward(); err != nil {
			t.Fatal(err)
		}
		if advertised() != ours {
			t.Errorf("after Forward the default is there: %v, want %v", !ours, ours)
		}
		if !ours {
			continue
		}
		run(t, "ip -6 route del default")
		advertise(t, "isp0")
		soon(t, "advertised default again", advertised)
	}
}

// advertise sends a router advertisement by a link (RFC 4861 section 4.2).
func advertise(t *testing.T, link string) {
	t.Helper()
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	p := ipv6.NewPacketConn(c)
	if err := p.SetMulticastHopLimit(255); err != nil {
		t.Fatal(err)
	}
	if err := p.SetMulticastInterface(ifi); err != nil {
		t.Fatal(err)
	}
	ra := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0} // hop limit 64, lifetime 1800 s
	send := func() bool {
		_, err := p.WriteTo(ra, nil, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: strconv.Itoa(ifi.Index)})
		return err == nil // until the link has an address of its own
	}
	soon(t, "router advertisement sent", send)
}

func TestSavedSysctlsOfAnotherBoot(t *testing.T) {
	k := lab(t)
	if err := os.WriteFile(k.sysctls.file, []byte(`{"Boot":"another","Values":{"net/ipv4/ip_forward":{"Was":"1","Set":"0"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if changes, err := k.Remove(); err != nil || len(changes) > 0 {
		t.Errorf("changed %q, error %v", changes, err)
	}
	// A file that a power failure has cut does not stop anything.
	if err := os.WriteFile(k.sysctls.file, []byte(`{`), 0o644); err != nil {
		t.Fatal(err)
	}
	k.sysctls.saved = saved{}
	if changes, err := k.Forward(); err != nil || len(changes) != 2 {
		t.Errorf("changed %q, error %v", changes, err)
	}
}

// A full disk does not keep the box from forwarding; it is reported until it has room, and
// this process restores everything all the same.
func TestSysctlsThatCannotBeSaved(t *testing.T) {
	k := lab(t)
	before := snapshot(t)
	file := k.sysctls.file
	k.sysctls.file = filepath.Join(file, "sub", "sysctl.json") // below what is no folder
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := k.Forward(); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("error %v", err)
		}
	}
	if sysctl(t, forward4) != "1" || sysctl(t, forward6) != "1" {
		t.Error("forwarding is off")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if changes, err := k.Forward(); err != nil || len(changes) > 0 {
		t.Errorf("changed %q, error %v", changes, err)
	}
	if data, err := os.ReadFile(k.sysctls.file); err != nil || !strings.Contains(string(data), forward6) {
		t.Errorf("saved: %s, %v", data, err)
	}
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, snapshot(t)); d != "" {
		t.Errorf("after Remove (-before +after):\n%s", d)
	}
}

func TestFolderInPlaceOfSavedSysctls(t *testing.T) {
	k := lab(t)
	if err := os.Mkdir(k.sysctls.file, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := config(wireguard("vpn", "wg0"))
	now := read(t, k, cfg)
	_, err := k.Apply(now.State, Desired(cfg, now.Inputs))
	if err == nil || !strings.Contains(err.Error(), "moved to "+k.sysctls.file+".bad") {
		t.Errorf("error %v", err)
	}
	if changes, err := k.Forward(); err != nil || len(changes) != 2 {
		t.Errorf("changed %q, error %v", changes, err)
	}
	if _, err := os.ReadFile(k.sysctls.file); err != nil {
		t.Error(err)
	}
	if _, err := k.Remove(); err != nil {
		t.Error(err)
	}
}

// A later change by another program is not undone.
func TestRestoreRespectsLaterChange(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	apply(t, k, cfg)
	run(t, "sysctl -qw net.ipv4.conf.wg0.rp_filter=1")
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := sysctl(t, "net/ipv4/conf/wg0/rp_filter"); got != "1" {
		t.Errorf("rp_filter = %s, want 1", got)
	}
}

// What a box had before us comes back, whatever another program does in between; what that
// has set when it ends stays.
func TestRestoreAfterDisturbance(t *testing.T) {
	for _, c := range []struct {
		name, before string
		during       []string // values that another program sets while this one runs
		last         string   // and after it has ended; "": none
		want         string
	}{
		{"forwarded, switched off for a moment", "1", []string{"0"}, "", "1"},
		{"forwarded, switched off and on", "1", []string{"0", "1", "0"}, "", "1"},
		{"did not forward, switched off for a moment", "0", []string{"0"}, "", "0"},
		{"did not forward", "0", nil, "", "0"},
		{"forwarded, switched off at last", "1", nil, "0", "0"},
		{"forwarded", "1", nil, "", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := lab(t)
			for _, name := range []string{forward4, forward6} {
				run(t, "echo "+c.before+" > /proc/sys/"+name)
			}
			forward := func() {
				t.Helper()
				if _, err := k.Forward("lan0"); err != nil {
					t.Fatal(err)
				}
			}
			forward()
			for _, value := range c.during {
				run(t, "echo "+value+" > /proc/sys/"+forward4+"; echo "+value+" > /proc/sys/"+forward6)
				forward()
			}
			if got := sysctl(t, forward4) + sysctl(t, forward6) + sysctl(t, "net/ipv4/conf/lan0/forwarding"); got != "111" {
				t.Errorf("while it runs: %s", got)
			}
			if c.last != "" {
				run(t, "echo "+c.last+" > /proc/sys/"+forward4+"; echo "+c.last+" > /proc/sys/"+forward6)
			}
			// Another process, with the same state directory, as after a crash.
			other, err := Open(filepath.Dir(k.sysctls.file))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.Remove(); err != nil {
				t.Fatal(err)
			}
			if got, want := sysctl(t, forward4)+sysctl(t, forward6)+sysctl(t, "net/ipv4/conf/lan0/forwarding"), strings.Repeat(c.want, 3); got != want {
				t.Errorf("after Remove: %s, want %s", got, want)
			}
		})
	}
}
