package policy

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"golang.org/x/sys/unix"
)

// frames opens the wire at an interface: what is written arrives at the other end of the
// veth, and what that sends is read.
func frames(t *testing.T, link string) int {
	t.Helper()
	l, err := net.InterfaceByName(link)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, 3}), Ifindex: l.Index}); err != nil { // ETH_P_ALL
		t.Fatal(err)
	}
	return fd
}

// put writes an IPv4 packet to a link, for its other end.
func put(t *testing.T, fd int, other string, packet []byte) {
	t.Helper()
	l, err := net.InterfaceByName(other)
	if err != nil {
		t.Fatal(err)
	}
	frame := append(append([]byte{}, l.HardwareAddr...), 2, 0, 0, 0, 0, 9, 8, 0)
	if _, err := unix.Write(fd, append(frame, packet...)); err != nil {
		t.Fatal(err)
	}
}

func sum(b []byte) uint16 {
	var n uint32
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return ^uint16(n)
}

// ip4 makes a packet; options are padded to words.
func ip4(src, dst string, protocol byte, options, payload []byte) []byte {
	for len(options)%4 != 0 {
		options = append(options, 0)
	}
	size := 20 + len(options)
	h := append([]byte{0x40 | byte(size/4), 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0}, netip.MustParseAddr(src).AsSlice()...)
	h = append(append(h, netip.MustParseAddr(dst).AsSlice()...), options...)
	binary.BigEndian.PutUint16(h[2:], uint16(size+len(payload)))
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, payload...)
}

func udp(from, to int) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint16(b, uint16(from))
	binary.BigEndian.PutUint16(b[2:], uint16(to))
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// TestFarEndDoesNotRoute: guarantee 4, kill switch. Who runs the far end of an egress
// neither redirects the box's packets to another gateway, nor sends packets that name their
// own way into the LAN, though another program has enabled both for the box.
func TestFarEndDoesNotRoute(t *testing.T) {
	k := lab(t)
	run(t, `ip link add tun9 type veth peer name far9; ip link set far9 up; ip link set tun9 up
ip addr add 10.9.0.2/24 dev tun9; ip neigh replace 10.9.0.1 lladdr 02:00:00:00:00:09 dev tun9; ip neigh replace 10.9.0.77 lladdr 02:00:00:00:00:77 dev tun9
ip route add default via 10.9.0.1 dev tun9 metric 9
ip neigh replace 192.168.1.77 lladdr 02:00:00:00:01:77 dev lan0
sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.conf.all.accept_redirects=1 net.ipv4.conf.all.secure_redirects=0 net.ipv4.conf.all.accept_source_route=1 net.ipv4.conf.all.rp_filter=0
sysctl -qw net.ipv4.conf.tun9.rp_filter=0 net.ipv4.conf.tun9.accept_redirects=1 net.ipv4.conf.tun9.accept_source_route=1 net.ipv6.conf.tun9.accept_redirects=1 net.ipv6.conf.tun9.accept_source_route=1`)
	t.Cleanup(func() {
		run(t, "sysctl -qw net.ipv4.conf.all.accept_source_route=0 net.ipv4.conf.all.secure_redirects=1 net.ipv4.ip_forward=0")
	})
	cfg := config(byInterface("vpn", "tun9"))
	far, lan := frames(t, "far9"), frames(t, "pc0")
	mark := int(cfg.Routes[0].Mark.Value)
	// attack says which gateway packets take then, and whether the source-routed packet
	// reached the LAN before one that follows it.
	attack := func() (redirected, passed bool) {
		c := dialMarked(t, "8.8.8.8:53", mark)
		defer c.Close()
		port := c.LocalAddr().(*net.UDPAddr).Port
		quoted := ip4("10.9.0.2", "8.8.8.8", unix.IPPROTO_UDP, nil, udp(port, 53))
		icmp := append([]byte{5, 1, 0, 0}, netip.MustParseAddr("10.9.0.77").AsSlice()...)
		icmp = append(icmp, quoted...)
		binary.BigEndian.PutUint16(icmp[2:], sum(icmp))
		put(t, far, "tun9", ip4("10.9.0.1", "10.9.0.2", unix.IPPROTO_ICMP, nil, icmp))
		lsrr := append([]byte{131, 7, 4}, netip.MustParseAddr("192.168.1.77").AsSlice()...)
		put(t, far, "tun9", ip4("10.9.0.1", "10.9.0.2", unix.IPPROTO_UDP, lsrr, udp(7001, 7001)))
		put(t, far, "tun9", ip4("10.9.0.1", "192.168.1.77", unix.IPPROTO_UDP, nil, udp(7001, 7002)))
		netlab.Eventually(t, 30*time.Second, func() error {
			buf := make([]byte, 2000)
			for {
				n, err := unix.Read(lan, buf)
				if err != nil {
					return err
				}
				ip := buf[14:]
				if n < 42 || ip[0]>>4 != 4 || ip[9] != unix.IPPROTO_UDP {
					continue
				}
				switch to := binary.BigEndian.Uint16(ip[int(ip[0]&15)*4+2:]); to {
				case 7001:
					passed = true
				case 7002:
					return nil
				}
			}
		})
		got := run(t, fmt.Sprintf("ip route get 8.8.8.8 mark %d", mark))
		return strings.Contains(got, "10.9.0.77"), passed
	}
	values := func() string {
		return run(t, "cd /proc/sys/net; for f in ipv4 ipv6; do cat $f/conf/tun9/accept_redirects $f/conf/tun9/accept_source_route; done | tr '\\n' ' '")
	}
	before := values()
	apply(t, k, cfg)
	if redirected, passed := attack(); redirected || passed {
		t.Errorf("redirected %t, source-routed %t", redirected, passed)
	}
	if got := values(); got != "0 0 0 0 " {
		t.Errorf("accept_redirects, accept_source_route: %s", got)
	}
	if changes := apply(t, k, cfg); len(changes) > 0 {
		t.Errorf("a second apply changed %q", changes)
	}
	run(t, "sysctl -qw net.ipv6.conf.tun9.accept_source_route=-1")
	apply(t, k, cfg)
	if got := values(); got != "0 0 0 -1 " {
		t.Errorf("refuses all: %s", got)
	}
	run(t, "sysctl -qw net.ipv6.conf.tun9.accept_source_route=0")
	if _, err := k.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := values(); got != before {
		t.Errorf("after down: %s, want %s", got, before)
	}
	// The attacks work without the gateway.
	run(t, "ip route add default via 10.9.0.1 dev tun9 table 99; ip rule add fwmark 0x01000000 lookup 99 pref 99")
	t.Cleanup(func() { run(t, "ip rule del pref 99") })
	if redirected, passed := attack(); !redirected || !passed {
		t.Errorf("without the settings: redirected %t, source-routed %t; the test proves nothing", redirected, passed)
	}
}

// dialMarked connects a UDP socket with a mark.
func dialMarked(t *testing.T, to string, mark int) net.Conn {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark)
	}
	at := netip.MustParseAddrPort(to)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
