//go:build linux

package netlab

import (
	"errors"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/ipv6"
)

// AdvertiseWAN takes the box's static IPv6 default route away and lets the ISP send
// router advertisements instead (RFC 4861): a default route, and a prefix to make an
// address from. It returns when the box has that route. The box takes it only as its
// accept_ra says: 1 to begin with, which does not do once it forwards.
func (l *Lab) AdvertiseWAN() *Process {
	l.t.Helper()
	Need(l.t, "dnsmasq")
	l.Box.Sysctl("net/ipv6/conf/wan0/accept_ra=1")
	l.Box.IP("route del ::/0 dev wan0")
	p := l.ISP.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--port=0",
		"--log-facility=-", "--interface=box0", "--bind-interfaces", "--enable-ra", "--dhcp-leasefile=/run/leases",
		"--dhcp-range=::,constructor:box0,ra-only,64,1h", "--ra-param=box0,4,1800")
	Eventually(l.t, 10*time.Second, func() error {
		out, err := l.Box.Exec("ip", "-6", "route", "show", "default", "proto", "ra")
		return Check(err == nil && out != "", "netlab: no router advertisement reached the box: %v\n%s", err, p.Output())
	})
	return p
}

// Advertise lets the ISP send one router advertisement by hand: a default route that
// lasts for a lifetime of whole seconds, 0 withdraws it.
func (l *Lab) Advertise(lifetime time.Duration) {
	l.t.Helper()
	seconds := uint16(lifetime / time.Second)
	ra := []byte{134, 0, 0, 0, 64, 0, byte(seconds >> 8), byte(seconds), 0, 0, 0, 0, 0, 0, 0, 0} // RFC 4861 section 4.2
	var err error
	l.ISP.Do(func() { err = sendToAllNodes("box0", ra) })
	if err != nil {
		l.t.Fatalf("netlab: router advertisement: %v", err)
	}
}

// sendToAllNodes multicasts an ICMPv6 message on a link.
func sendToAllNodes(link string, message []byte) error {
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	defer closeQuietly(c)
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return err
	}
	p := ipv6.NewPacketConn(c)
	if err := errors.Join(p.SetMulticastHopLimit(255), p.SetMulticastInterface(ifi)); err != nil {
		return err
	}
	_, err = p.WriteTo(message, nil, &net.IPAddr{IP: net.ParseIP("ff02::1"), Zone: strconv.Itoa(ifi.Index)})
	return err
}
