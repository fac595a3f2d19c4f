package policy

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// mainCost is how long the last dump of table main took, in nanoseconds: a million kernel
// routes take seconds, and Watch reports changes of them less often.
var mainCost atomic.Int64

// LocalNetworks returns what takes precedence over the routes now.
func LocalNetworks(cfg *gateway.Config) (Local, error) {
	k, err := newReader()
	if err != nil {
		return Local{}, err
	}
	defer k.close()
	var in Inputs
	if in.Links, err = k.links(); err == nil {
		err = k.readMain(cfg, &in)
	}
	return in.Local, err
}

// readMain reads table main once: its defaults, and what is local.
func (k *reader) readMain(cfg *gateway.Config, in *Inputs) error {
	began := time.Now()
	var surveys []*survey
	egresses := slices.DeleteFunc(EgressLinks(cfg), func(l string) bool { return slices.Contains(cfg.LAN, l) })
	for _, f := range k.families {
		s := &survey{around: around{lan: cfg.LAN, egresses: egresses, exclude: cfg.Exclude}}
		if err := k.survey(f, in.Links, s); err != nil {
			return err
		}
		surveys = append(surveys, s)
		in.Defaults = append(in.Defaults, s.defaults...)
	}
	mainCost.Store(int64(time.Since(began)))
	wan := uplinks(cfg, in.Defaults)
	in.Local = Local{behind: map[string][]netip.Prefix{}}
	for i, f := range k.families {
		own, err := k.own(f)
		if err != nil {
			return err
		}
		in.Local.Own = append(in.Local.Own, own...)
		surveys[i].wan = wan
		surveys[i].finish(&in.Local)
	}
	return nil
}

// survey reads one family of table main.
func (k *reader) survey(f gateway.Family, links []Link, s *survey) error {
	suppress, names, empty := gateway.Suppressed(f), namesOf(links), *s
	return k.each(f, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE, func(n netlink.Route) {
		if n.Protocol == gateway.Protocol {
			return
		}
		if isDefault(n) {
			if r, ok := routeOf(n, names); ok && !r.Unreachable {
				r.Table = 0
				s.defaults = append(s.defaults, r)
			}
			return
		}
		p, ok := prefixOf(n, f)
		if !ok || p.Bits() <= suppress || n.Tos != 0 {
			return
		}
		switch n.Type {
		case unix.RTN_THROW:
			s.holes = append(s.holes, hole{p, uint32(n.Priority)})
		case unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE, unix.RTN_PROHIBIT:
			s.add(candidate{Network: Network{Prefix: p}, metric: uint32(n.Priority)})
		case unix.RTN_UNICAST:
			if c, ok := candidateOf(n, p, names, links); ok {
				s.add(c)
			}
		}
	}, func() { *s = empty })
}

// candidateOf reads a kernel route of table main that has hops; ok is false where all are dead.
func candidateOf(n netlink.Route, p netip.Prefix, names map[int]string, links []Link) (c candidate, ok bool) {
	c = candidate{Network: Network{Prefix: p}, metric: uint32(n.Priority)}
	hops := n.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{LinkIndex: n.LinkIndex, Gw: n.Gw, Via: n.Via, Flags: n.Flags}}
	}
	for _, hop := range hops {
		if hop.Flags&unix.RTNH_F_DEAD != 0 {
			continue
		}
		h, _ := hopOf(hop, names)
		if !slices.Contains(c.Links, h.Link) {
			c.Links = append(c.Links, h.Link)
		}
		c.Via = h.Via
	}
	if len(hops) > 1 {
		c.Via = netip.Addr{}
		return c, len(c.Links) > 0
	}
	c.connected = !c.Via.IsValid() && (n.Protocol == unix.RTPROT_KERNEL || isNetworkOf(links, n.LinkIndex, p))
	return c, len(c.Links) > 0
}

// isNetworkOf reports whether a link has an address in a network, with the network's
// length: what manages the link may make the kernel route in the kernel's place.
func isNetworkOf(links []Link, index int, p netip.Prefix) bool {
	i := slices.IndexFunc(links, func(l Link) bool { return l.Index == index })
	return i >= 0 && slices.Contains(links[i].networks, p)
}

// networksOf returns the network of an address, and its peer.
func networksOf(a netlink.Addr) (out []netip.Prefix) {
	for _, n := range []*net.IPNet{a.IPNet, a.Peer} {
		if n == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if p, err := ip.Unmap().Prefix(ones); ok && err == nil {
			out = append(out, p)
		}
	}
	return out
}

func namesOf(links []Link) map[int]string {
	names := make(map[int]string, len(links))
	for _, l := range links {
		names[l.Index] = l.Name
	}
	return names
}

// own returns the addresses that the box answers to, broadcasts included, from the local
// table.
func (k *reader) own(f gateway.Family) ([]netip.Prefix, error) {
	dump, err := k.dump(f, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, n := range dump {
		switch n.Type {
		case unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST:
			if p, ok := prefixOf(n, f); ok {
				own = append(own, p)
			}
		}
	}
	return own, nil
}

func prefixOf(n netlink.Route, f gateway.Family) (netip.Prefix, bool) {
	if n.Dst == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.Dst.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	if f == gateway.V4 {
		addr = addr.Unmap()
	}
	ones, _ := n.Dst.Mask.Size()
	p, err := addr.Prefix(ones)
	return p, err == nil
}
