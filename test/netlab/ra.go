//go:build linux

package netlab

import (
	"errors"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/ipv6"
)

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
