package ddr

import (
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// maxAddrs is how many addresses of a family a client is told.
const maxAddrs = 2

// link is what an interface has of addresses that clients may use.
type link []netip.Addr

// links returns the addresses of this machine by interface, without link-local ones.
func links() (all []link) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		var l link
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().Unmap().IsLinkLocalUnicast() {
				l = append(l, p.Addr().Unmap())
			}
		}
		slices.SortStableFunc(l, func(a, b netip.Addr) int { // those that stay come first
			switch {
			case a.IsPrivate() == b.IsPrivate():
				return 0
			case a.IsPrivate():
				return -1
			}
			return 1
		})
		all = append(all, l)
	}
	return all
}

// addresses returns those by which the client of a query may ask encrypted: the one that it
// asked now, which is what it verifies the certificate for (RFC 9462 section 4.2) or compares
// (section 4.3), and those of the other family on the same interface.
func (d *DDR) addresses(w dns.ResponseWriter) []netip.Addr {
	if len(d.fixed) > 0 {
		return d.fixed
	}
	here := addrOf(w.LocalAddr())
	if !here.IsValid() || here.IsUnspecified() {
		here = sourceFor(addrOf(w.RemoteAddr()))
	}
	if !here.IsValid() {
		return nil
	}
	var all []netip.Addr
	if !here.IsLinkLocalUnicast() {
		all = append(all, here)
	}
	for _, l := range d.own() {
		if !slices.Contains(l, here) {
			continue
		}
		n := 0
		for _, a := range l {
			if a.Is4() != here.Is4() && n < maxAddrs {
				all = append(all, a)
				n++
			}
		}
	}
	return all
}

// addrOf returns the address of a socket, or the zero Addr.
func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// sourceFor returns the address that this machine has for a client, on a listener of all
// addresses, which does not tell. Nothing is sent.
func sourceFor(client netip.Addr) netip.Addr {
	if !client.IsValid() {
		return netip.Addr{}
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(client, 53)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addrOf(c.LocalAddr())
}
