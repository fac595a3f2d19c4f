package explain

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/neighbour"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// client is whose packets are looked at.
type client struct {
	Client
	at    netip.Addr   // the address of this box that it asks
	iif   int          // index of Link; 0: the box itself
	addrs []netip.Addr // all its addresses that the kernel knows
}

// findClient finds out what the kernel knows of a client.
func (l *look) findClient(text string) (c client, err error) {
	if text == "" {
		c.By = "the box itself"
		return c, nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		c.Address = a.Unmap()
		c.addrs = []netip.Addr{c.Address.WithZone("")}
		host := neighbour.Of(c.Address)
		if c.iif = host.Link; host.Known {
			c.MAC = net.HardwareAddr(host.MAC[:6]).String()
		}
	} else if mac, ok := gateway.ParseMAC(text); ok {
		c.MAC = mac.String()
	} else {
		return c, fmt.Errorf("--client %q: want an address or a MAC address", text)
	}
	l.neighbours(&c)
	if !c.Address.IsValid() {
		return c, fmt.Errorf("--client %s: the kernel knows no address of it: ip neigh shows those that it has heard from", text)
	}
	if link, err := net.InterfaceByIndex(c.iif); err == nil {
		c.Link = link.Name
	}
	if conn, err := net.Dial("udp", net.JoinHostPort(c.Address.String(), "9")); err == nil { // sends nothing
		c.at = conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		conn.Close()
	}
	if slices.Contains(c.addrs, c.at) { // an address of the box
		c.iif, c.Link, c.By = 0, "", "the box itself"
		return c, nil
	}
	l.classify(&c)
	return c, nil
}

// neighbours finds all addresses of a client by its MAC address.
func (l *look) neighbours(c *client) {
	mac, err := net.ParseMAC(c.MAC)
	if err != nil {
		return
	}
	all, err := nlretry.Dump(func() ([]netlink.Neigh, error) { return netlink.NeighList(c.iif, netlink.FAMILY_ALL) })
	l.problem("ip neigh", err)
	for _, n := range all {
		a, ok := netip.AddrFromSlice(n.IP)
		a = a.Unmap()
		if !ok || !bytes.Equal(n.HardwareAddr, mac) || a.IsLinkLocalUnicast() || a.IsMulticast() {
			continue
		}
		if !c.Address.IsValid() || c.Address.Is6() && a.Is4() && len(c.addrs) == 0 {
			c.Address, c.iif = a, n.LinkIndex
		}
		if !slices.Contains(c.addrs, a) {
			c.addrs = append(c.addrs, a)
		}
	}
	if c.Address.IsValid() && !slices.Contains(c.addrs, c.Address) {
		c.addrs = append(c.addrs, c.Address)
	}
}

// classify finds the first class that the client is of.
func (l *look) classify(c *client) {
	for _, class := range l.cfg.Clients {
		by := ""
		for _, p := range class.Prefixes {
			if slices.ContainsFunc(c.addrs, p.Contains) {
				by = p.String()
			}
		}
		for _, m := range class.MACs {
			if m.String() == c.MAC {
				by = c.MAC
			}
		}
		if slices.Contains(class.Links, c.Link) {
			by = "interface " + c.Link
		}
		if by != "" {
			at := l.cfg.Positions.Find("clients." + class.Name)
			c.Class, c.By = class.Name, fmt.Sprintf("%s, %s:%d", by, l.cfg.File, at.Line)
			return
		}
	}
	if len(l.cfg.Clients) > 0 {
		var names []string
		for _, class := range l.cfg.Clients {
			names = append(names, class.Name)
		}
		c.By = "of none of the classes " + strings.Join(names, ", ")
	}
}

// source returns the client's address of a family.
func (c client) source(f gateway.Family) netip.Addr {
	for _, a := range c.addrs {
		if gateway.FamilyOf(a) == f {
			return a
		}
	}
	return netip.Addr{}
}
