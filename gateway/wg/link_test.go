package wg

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// TestWatchLink shows that the end of a kernel tunnel's link is noticed, on a
// bridge, which any kernel has.
func TestWatchLink(t *testing.T) {
	netlab.Need(t, "ip")
	run(t, "ip link add br-w type bridge")
	run(t, "ip link add p-w type veth peer name q-w")
	run(t, "ip link set p-w master br-w")
	ifi, err := net.InterfaceByName("p-w")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	gone, err := watchLink(ifi.Index, stop)
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := watchLink(ifi.Index, stop)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set p-w nomaster") // sends RTM_DELLINK of family bridge
	run(t, "ip link del br-w")
	select {
	case <-gone:
		t.Fatal("gone while it is there")
	case <-time.After(100 * time.Millisecond):
	}
	run(t, "ip link del p-w")
	for _, c := range []<-chan struct{}{gone, stopped} {
		select {
		case <-c:
		case <-time.After(30 * time.Second):
			t.Fatal("not noticed")
		}
	}
	close(stop)
}

func TestForeign(t *testing.T) {
	netlab.Need(t, "ip")
	tests := []struct{ name, make, want string }{
		{"bridge", "ip link add wgf type bridge", "interface wgf: not made by nameroute: bridge interface of another program: " +
			"remove it (ip link del wgf), or set another link: for the route"},
		{"tun", "ip tuntap add wgf mode tun", "interface wgf: not made by nameroute: tun interface of another program: " +
			"remove it (end the program that made it, or ip link del wgf), or set another link: for the route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, "%s", tt.make)
			defer run(t, "ip link del wgf")
			_, err := Open("wgf", Options{Alias: Alias("vpn")})
			if !errors.Is(err, ErrForeign) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			if err := Remove("wgf"); !errors.Is(err, ErrForeign) {
				t.Errorf("remove: %v", err)
			}
			run(t, "ip link show wgf")
		})
	}
	if err := Remove("wgf"); err != nil {
		t.Errorf("remove what is not there: %v", err)
	}
}

// TestBusy: two processes do not share a tunnel, and the loser leaves it alone.
func TestBusy(t *testing.T) {
	netlab.Need(t, "ip")
	openWith(t, "wgb", Options{Alias: Alias("vpn"), Log: quiet(t), Userspace: true})
	for range 3 {
		_, err := Open("wgb", Options{Alias: Alias("vpn")})
		const want = "interface wgb: device or resource busy: in use by another process: end that one first"
		if err == nil || err.Error() != want {
			t.Fatalf("got  %v\nwant %s", err, want)
		}
	}
	links, err := Links()
	if err != nil || !slices.Equal(links, []Link{{"wgb", "nameroute: route vpn", Userspace}}) {
		t.Errorf("links %v %v", links, err)
	}
}

// TestMakeLink shows how a kernel interface comes into being, on a bridge: it never
// has its name without being ours, and what a crash left is swept up.
func TestMakeLink(t *testing.T) {
	netlab.Need(t, "ip")
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	bridge := func(a netlink.LinkAttrs) netlink.Link { return &netlink.Bridge{LinkAttrs: a} }
	run(t, "ip link add nrnew-%08x type bridge", crc32.ChecksumIEEE([]byte("wgx"))) // as a crash leaves it
	left := run(t, "ip -br link show type bridge")
	if err := createLink(h, "wgx", Alias("vpn"), bridge); err != nil {
		t.Fatal(err)
	}
	out := run(t, "ip link show wgx")
	if !strings.Contains(out, "alias nameroute: route vpn") {
		t.Error(out)
	}
	if now := run(t, "ip -br link show type bridge"); strings.Contains(now, "nrnew-") {
		t.Errorf("left: %s (before: %s)", now, left)
	}
	if err := createLink(h, "wgx", Alias("vpn"), bridge); err == nil || !strings.Contains(err.Error(), "name interface wgx: ") {
		t.Errorf("the name is taken: %v", err)
	}
	if now := run(t, "ip -br link show type bridge"); strings.Contains(now, "nrnew-") {
		t.Errorf("left: %s", now)
	}
	run(t, "ip link del wgx")
}

func TestMTU(t *testing.T) {
	f := newFar(t, "fm", 13, "")
	tun := mustOpen(t, "wgm")
	for _, tt := range []struct{ path, opt, conf, want int }{
		{1500, 0, 0, 1420}, {1492, 0, 0, 1412}, {9000, 0, 0, 1420}, {1300, 0, 0, 1280}, {1492, 0, 1400, 1400}, {1492, 1350, 1400, 1350},
	} {
		run(t, "ip link set v-fm mtu %d", tt.path)
		tun.opts.MTU = tt.opt
		w := f.want(t)
		w.MTU = tt.conf
		mustApply(t, tun, w)
		if out := run(t, "ip link show wgm"); !strings.Contains(out, fmt.Sprintf("mtu %d ", tt.want)) {
			t.Errorf("%+v: %s", tt, out)
		}
	}
	w := f.want(t)
	w.MTU = 1200
	tun.opts.MTU = 0
	mustApply(t, tun, w)
	if got := strings.Fields(run(t, "ip -br addr show wgm")); !slices.Equal(got[2:], []string{"10.9.13.2/32"}) {
		t.Errorf("addresses below the MTU of IPv6: %v", got)
	}
	if changes := mustApply(t, tun, w); len(changes) > 0 {
		t.Errorf("twice: %q", changes)
	}
}

func TestIPv6Off(t *testing.T) {
	f := newFar(t, "fo", 14, "")
	tun := mustOpen(t, "wgo")
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/wgo/disable_ipv6", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := tun.Apply(f.want(t))
		const want = "interface wgo: add address fd09:14::2/128: IPv6 is disabled (permission denied): " +
			"set net.ipv6.conf.wgo.disable_ipv6=0, or remove the IPv6 addresses from the provider's file"
		if err == nil || err.Error() != want {
			t.Fatalf("got  %v\nwant %s", err, want)
		}
	}
	run(t, "ip route replace 10.9.14.0/24 dev wgo")
	if err := echo("ip4:icmp", "10.9.14.1", ipv4.ICMPTypeEcho, 1, 5*time.Second); err != nil {
		t.Errorf("IPv4 works all the same: %v", err)
	}
}
