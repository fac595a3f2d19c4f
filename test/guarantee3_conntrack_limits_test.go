package test

import (
	endian "encoding/binary"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// A kernel whose table of connections is full drops what would need a new entry: new
// flows wait, and none of their packets takes a wrong egress. Flows that are in the table
// go on, and all is well as soon as there is room.
//
// No other test runs beside this one: the kernel has one table for all namespaces, and reads
// what is another's, too, when a namespace's own is read. On a busy machine that takes seconds.
func TestConntrackFull(t *testing.T) {
	g := newGate(t, netlab.Setup{})
	addrs, fresh := g.resolve("www.listed.example"), g.resolve("fresh.listed.example")
	forwarded, own := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
	most := g.sysctl("net.netfilter.nf_conntrack_max")
	if most > 600_000 {
		t.Skipf("this kernel has room for %d connections", most)
	}
	// A full table drops flows that are not assured, which one over UDP is after 2 s of packets
	// both ways (nf_conntrack_proto_udp.c).
	time.Sleep(3 * time.Second)
	forwarded.wantProgress()
	own.wantProgress()
	g.Reset()
	opened := g.flood(netlab.ViaVPN, fresh...)
	began := time.Now()
	// The namespaces of earlier tests may still be giving up their connections, which makes room.
	netlab.Eventually(t, 60*time.Second, func() error {
		g.fillConntrack(most)
		refused, tried := g.tryRefused(fresh...)
		return netlab.Check(refused >= tried/2, "only %d of %d new connections refused: with room for them, nothing is proved", refused, tried)
	})
	t.Logf("%d connections after %v", most, time.Since(began).Round(time.Millisecond))
	for name, f := range map[string]*flows{"forwarded": forwarded, "own": own} {
		f.wantProgress()
		tcp, udp := f.worst()
		t.Logf("%s flows: longest gap over TCP %v, over UDP %v", name, tcp, udp)
	}

	g.emptyConntrack()
	back := time.Now()
	g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, fresh...)
	g.Box.AwaitNames("ready.listed.example", 10*time.Second)
	t.Logf("new flows and listed names %v after there was room", time.Since(back).Round(time.Millisecond))
	g.wantVia(g.Client, netlab.ViaVPN, append(fresh, g.resolve("new.listed.example")...)...)
	forwarded.wantProgress()
	own.wantProgress()
	t.Logf("%d new flows were tried", opened.stop(g))
	g.wantNoneClear(append(addrs, fresh...)...)
	g.wantNoQueryByWAN("listed.example")
}

// tryRefused opens connections for which there is no room. The kernel makes some, by
// dropping one that is not answered yet: one that gets it goes via the tunnel.
func (g *gate) tryRefused(addrs ...netip.Addr) (refused, tried int) {
	g.t.Helper()
	for range 3 {
		for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
			for _, a := range addrs {
				egress, err := from.ConnectWithin(a, 150*time.Millisecond)
				if tried++; err != nil {
					refused++
				} else if egress != netlab.ViaVPN {
					g.t.Errorf("%s to %s went by %s", from.Name, a, egress)
				}
			}
		}
	}
	return refused, tried
}

// What conntrack does not know, because another program's rule says so or because no
// connection explains it, goes by its destination: never via the WAN, nor into the tunnel,
// because it cannot be translated. It goes nowhere.
func TestPacketsOfNoConnection(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Gateway: "owner: off"})
	addrs, old := g.resolve("www.listed.example"), g.resolve("live.listed.example")
	live := g.flows(g.Client, netlab.ViaVPN, old...)
	g.deleteElements(old...)
	g.Reset()
	for range 20 {
		for _, a := range append(addrs, old...) {
			g.stray(a, 40000) // a RST of an unknown connection
		}
	}
	g.Settle()
	g.wantNoneClear(append(addrs, old...)...)
	g.Box.NFT(`table inet untracked {
		chain prerouting { type filter hook prerouting priority raw; meta l4proto { tcp, udp } th dport 7 ip daddr { ` + addrs[0].String() + ` } notrack; meta l4proto { tcp, udp } th dport 7 ip6 daddr { ` + addrs[1].String() + ` } notrack; }
		chain output { type filter hook output priority raw; meta l4proto { tcp, udp } th dport 7 ip daddr { ` + addrs[0].String() + ` } notrack; meta l4proto { tcp, udp } th dport 7 ip6 daddr { ` + addrs[1].String() + ` } notrack; }
	}`)
	tunnel := netlab.NewTap(g.Box.Namespace, "wg0")
	opened := g.flood(netlab.ViaVPN, addrs...)
	for _, family := range []string{"ip", "ip6"} {
		untracked := regexp.MustCompile(`untracked ` + family + ` saddr .* packets (\d+)`)
		netlab.Eventually(t, 30*time.Second, func() error {
			chain := g.Box.Run("nft", "list", "chain", "inet", "nameroute", "foreign_source")
			n := 0
			if m := untracked.FindStringSubmatch(chain); m != nil {
				n, _ = strconv.Atoi(m[1])
			}
			return netlab.Check(n >= 20, "only %d untracked packets were on their way into the tunnel: that proves nothing\n%s", n, chain)
		})
	}
	if n := tunnel.Count(wire.To(addrs...)); n > 0 {
		t.Errorf("%d packets entered the tunnel untranslated", n)
	}
	live.wantProgress()
	t.Logf("%d untracked flows", opened.stop(g))
	g.wantNoneClear(append(addrs, old...)...)
	tcp, udp := live.worst()
	t.Logf("a live flow's longest gap over TCP %v, over UDP %v", tcp, udp)
}

// stray sends one TCP segment with RST from the client, of no connection.
func (g *gate) stray(to netip.Addr, port uint16) {
	g.t.Helper()
	from := g.Plan.Client.V4
	family := unix.AF_INET
	if to.Is6() {
		from, family = g.Plan.Client.V6, unix.AF_INET6
	}
	segment := make([]byte, 20)
	endian.BigEndian.PutUint16(segment, port)
	endian.BigEndian.PutUint16(segment[2:], netlab.EchoPort)
	endian.BigEndian.PutUint32(segment[4:], 12345)
	segment[12], segment[13] = 5<<4, 4
	endian.BigEndian.PutUint16(segment[16:], checksum(from, to, segment))
	var err error
	g.Client.Do(func() {
		var fd int
		if fd, err = unix.Socket(family, unix.SOCK_RAW, unix.IPPROTO_TCP); err != nil {
			return
		}
		defer unix.Close(fd)
		var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: to.As16()}
		if to.Is4() {
			sa = &unix.SockaddrInet4{Addr: to.As4()}
		}
		err = unix.Sendto(fd, segment, 0, sa)
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// checksum is that of a TCP segment (RFC 9293 section 3.1).
func checksum(from, to netip.Addr, segment []byte) uint16 {
	all := append(append(from.AsSlice(), to.AsSlice()...), 0, byte(unix.IPPROTO_TCP), 0, byte(len(segment)))
	all = append(all, segment...)
	var sum uint32
	for i := 0; i < len(all); i += 2 {
		sum += uint32(endian.BigEndian.Uint16(all[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func (g *gate) sysctl(name string) int {
	g.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(g.Box.Run("sysctl", "-n", name)))
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// fillerMark tells the connections that fill the table from others.
const fillerMark = 5

// fillConntrack puts count connections into the box's table that the kernel does not
// give up for others, a thousand in a message.
func (g *gate) fillConntrack(count int) {
	g.t.Helper()
	var message []byte
	place := []byte{10, 251, 252, 253} // where each one's own address goes
	tuple := func(ae *netlink.AttributeEncoder, src, dst []byte, sport, dport uint16) error {
		ae.Nested(1, func(ip *netlink.AttributeEncoder) error { ip.Bytes(1, src); ip.Bytes(2, dst); return nil })
		ae.Nested(2, func(p *netlink.AttributeEncoder) error {
			p.ByteOrder = endian.BigEndian
			p.Uint8(1, unix.IPPROTO_UDP)
			p.Uint16(2, sport)
			p.Uint16(3, dport)
			return nil
		})
		return nil
	}
	far := []byte{10, 250, 0, 1}
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = endian.BigEndian
	ae.Nested(1, func(t *netlink.AttributeEncoder) error { return tuple(t, place, far, 5, 6) })
	ae.Nested(2, func(t *netlink.AttributeEncoder) error { return tuple(t, far, place, 6, 5) })
	ae.Uint32(3, 1<<1|1<<2|1<<3) // seen reply, assured, confirmed
	ae.Uint32(7, 600)            // seconds
	ae.Uint32(8, fillerMark)
	attrs, err := ae.Encode()
	if err != nil {
		g.t.Fatal(err)
	}
	message = conntrackMessage(0, unix.NLM_F_CREATE|unix.NLM_F_EXCL, attrs)
	first := strings.Index(string(message), string(place))
	second := first + 4 + strings.Index(string(message[first+4:]), string(place))
	g.conntrack(func(send func([]byte)) {
		var batch []byte
		for i := range count + 1000 { // some more: others come and go
			endian.BigEndian.PutUint32(message[first:], 10<<24|uint32(i))
			endian.BigEndian.PutUint32(message[second:], 10<<24|uint32(i))
			if batch = append(batch, message...); i%1000 == 999 {
				send(batch)
				batch = batch[:0]
			}
		}
		send(batch)
	})
}

// emptyConntrack takes them out again.
func (g *gate) emptyConntrack() {
	g.t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = endian.BigEndian
	ae.Uint32(8, fillerMark)
	ae.Uint32(21, 0xffffffff)
	attrs, err := ae.Encode()
	if err != nil {
		g.t.Fatal(err)
	}
	g.conntrack(func(send func([]byte)) { send(conntrackMessage(2, 0, attrs)) })
}

// conntrackMessage is one of ctnetlink, of IPv4.
func conntrackMessage(typ, flags uint16, attrs []byte) []byte {
	m := make([]byte, 16, 20+len(attrs))
	endian.NativeEndian.PutUint32(m, uint32(20+len(attrs)))
	endian.NativeEndian.PutUint16(m[4:], unix.NFNL_SUBSYS_CTNETLINK<<8|typ)
	endian.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	m = append(m, unix.AF_INET, 0, 0, 0)
	return append(m, attrs...)
}

// conntrack runs f with a netlink socket in the box.
func (g *gate) conntrack(f func(send func([]byte))) {
	g.t.Helper()
	var err error
	g.Box.Do(func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20); err != nil {
			return
		}
		f(func(b []byte) {
			if err == nil && len(b) > 0 {
				err = unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			}
		})
	})
	if err != nil {
		g.t.Fatal(err)
	}
}
