package firewall_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"golang.org/x/sys/unix"
)

// TestPacketsOfChosenRoute: what the kernel sends in the place of a socket that chose
// a route, and that is gone, goes by that route too.
func TestPacketsOfChosenRoute(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	sh(t, `nft -f - <<END
table inet seen {
	chain post { type filter hook postrouting priority 300
	oifname "tun0" icmp type destination-unreachable counter
	oifname "tun0" icmpv6 type destination-unreachable counter
	oifname "wan0" icmp type destination-unreachable counter
	oifname "wan0" icmpv6 type destination-unreachable counter
	}
}
END`)
	for _, f := range families {
		for _, ns := range []string{"vpn", "isp"} {
			lateReply(t, ns, f.other, map[string]int{"vpn": 0x01000000, "isp": 0x7f000000}[ns])
		}
	}
	eventually(t, time.Second*slack, func() bool {
		out := sh(t, "nft list table inet seen")
		return strings.Count(out, "counter packets 1 ") == 4
	})
}

// lateReply has a marked socket ask a server in the namespace, and be closed before
// the answer comes.
func lateReply(t *testing.T, ns, server string, mark int) {
	t.Helper()
	var late net.PacketConn
	var err error
	inNamespace(t, ns, func() { late, err = net.ListenPacket("udp", net.JoinHostPort(server, "9")) })
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) })
		if e != nil {
			return e
		}
		return err
	}}
	asker, err := d.DialContext(context.Background(), "udp", net.JoinHostPort(server, "9"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asker.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	var buf [8]byte
	_, from, err := late.ReadFrom(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := asker.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := late.WriteTo(buf[:1], from); err != nil {
		t.Fatal(err)
	}
}
