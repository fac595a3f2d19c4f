package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/pkg/routeget"
)

// Diversion is a policy rule of another program that decides about packets of routes,
// because it comes before theirs. The kernel said so: it was asked where such packets go.
type Diversion struct {
	Family   gateway.Family
	Priority int
	Rule     string   // as ip(8) prints it
	Routes   []string // whose packets it takes
	Link     string   // where to; "": it drops them
	First    int      // where the rules of the gateway begin
}

// String says what happens and what to do.
func (d Diversion) String() string {
	where := "nowhere"
	if d.Link != "" {
		where = "to " + d.Link
	}
	return fmt.Sprintf("ip -%d rule %d of another program (%s) decides before ours and sends packets of %s %s; the kill switch drops what leaves by another way than its route: "+
		"give it a priority after ours, or set `priority:` so that ours come before %[2]d", d.Family, d.Priority, d.Rule, strings.Join(d.Routes, ", "), where)
}

// Diversions asks the kernel which policy rules of other programs decide in place of ours,
// or would if nothing of ours is there.
func Diversions(cfg *gateway.Config) ([]Diversion, error) {
	k, err := newReader()
	if err != nil {
		return nil, err
	}
	defer k.close()
	return k.diversions(cfg)
}

// Diversions is the function of this name.
func (k *Kernel) Diversions(cfg *gateway.Config) ([]Diversion, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.diversions(cfg)
}

func (k *reader) diversions(cfg *gateway.Config) (out []Diversion, err error) {
	var in Inputs // read where there is something to ask
	for _, f := range k.families {
		rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return k.h.RuleList(familyNumber(f)) })
		if err != nil {
			return nil, fmt.Errorf("ip -%d rule: %w", f, err)
		}
		for _, rule := range rules {
			if rule.Protocol == gateway.Protocol || rule.Priority == 0 || rule.Priority > cfg.LastRoutePriority() {
				continue
			}
			if in.Links == nil {
				if in.Links, err = k.links(); err == nil {
					err = k.readMain(cfg, &in)
				}
				if err != nil {
					return nil, err
				}
			}
			d := Diversion{Family: f, Priority: rule.Priority, Rule: RuleText(rule), First: cfg.Priority}
			for _, route := range cfg.AllRoutes() {
				if rule.Priority > route.Priority {
					continue
				}
				present := slices.ContainsFunc(rules, func(o netlink.Rule) bool {
					return o.Protocol == gateway.Protocol && o.Priority == route.Priority && o.Table == route.Table
				})
				q := passage{reader: k, cfg: cfg, in: in, family: f, rule: rule, route: route, present: present}
				if link, taken := q.taken(); taken {
					d.Routes, d.Link = append(d.Routes, route.Name), link
				}
			}
			if len(d.Routes) > 0 {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// passage is one rule that packets of one route come past.
type passage struct {
	*reader
	cfg     *gateway.Config
	in      Inputs
	family  gateway.Family
	rule    netlink.Rule
	route   gateway.Route
	present bool // the route's own rule
}

// taken asks the kernel about the packets of the route that the rule would match, if any.
func (q passage) taken() (link string, taken bool) {
	r := q.rule
	p, ok := routeget.Packet{}, true
	if p.Mark, ok = q.mark(); !ok {
		return "", false
	}
	if !r.Invert { // else the rule matches what is none of these
		p, ok = selected(p, r)
		if l, bound := q.in.link(r.OifName); bound {
			p.Oif = l.Index
		} else {
			ok = ok && r.OifName == ""
		}
		if !ok || r.OifName != "" && !slices.Contains(q.links(), r.OifName) {
			return "", false // the route's packets leave by none of its links then, with or without the rule
		}
	}
	for _, p.To = range q.destinations() {
		for _, from := range q.sources() {
			if p.Iif, p.From = from.iif, from.addr; p.Iif != 0 && p.Oif != 0 {
				continue
			}
			table, index, err := p.Ask()
			switch {
			case err != nil: // an action that drops is told by its rule only
				if r.Table == unix.RT_TABLE_UNSPEC && r.Goto < 0 && p.Iif == 0 && q.up() {
					return "", true
				}
			case p.Oif == 0 && table != q.route.Table && (table == r.Table || r.Goto >= 0 && q.present):
				i := slices.IndexFunc(q.in.Links, func(l Link) bool { return l.Index == index })
				if i >= 0 {
					link = q.in.Links[i].Name
				}
				return link, true
			}
		}
	}
	return "", false
}

// selected returns the packet as one that the rule's selectors match, those for addresses,
// interfaces and marks aside. ok is false where the kernel cannot be asked about such.
func selected(p routeget.Packet, r netlink.Rule) (of routeget.Packet, ok bool) {
	p.Tos, p.Protocol = uint8(r.Tos), uint8(r.IPProto)
	if r.Sport != nil {
		p.Sport = r.Sport.Start
	}
	if r.Dport != nil {
		p.Dport = r.Dport.Start
	}
	if (r.Sport != nil || r.Dport != nil) && p.Protocol == 0 {
		p.Protocol = unix.IPPROTO_TCP
	}
	if r.UIDRange != nil {
		p.UID = &r.UIDRange.Start
	}
	switch p.Protocol {
	case 0, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return p, r.TunID == 0
	}
	return p, false
}

// links are those of the route's defaults.
func (q passage) links() []string {
	routes, _ := defaults(q.cfg, q.route, q.in)
	return LinksOf(routes)
}

// mark returns a mark that is the route's in our bits and matches the rule in the others.
func (q passage) mark() (uint32, bool) {
	ours, mask := uint32(q.cfg.Mask), uint32(0)
	if q.rule.Mask != nil {
		mask = *q.rule.Mask
	} else if q.rule.Mark != 0 {
		mask = ^uint32(0)
	}
	mark := q.route.Mark.Value
	if q.rule.Invert {
		r := q.rule
		only := r.Src == nil && r.Dst == nil && r.IifName == "" && r.OifName == "" && r.IPProto == 0 && r.Sport == nil && r.Dport == nil && r.UIDRange == nil && r.Tos == 0
		return mark, mark&mask != q.rule.Mark || !only
	}
	mark |= q.rule.Mark &^ ours
	return mark, mark&mask == q.rule.Mark
}

// somewhere are addresses of the internet. No packet is sent to them.
var somewhere = map[gateway.Family]netip.Addr{gateway.V4: netip.MustParseAddr("9.9.9.9"), gateway.V6: netip.MustParseAddr("2620:fe::fe")}

// destinations returns addresses that the rule is about and that are not local.
func (q passage) destinations() []netip.Addr {
	all := []netip.Addr{somewhere[q.family]}
	if q.rule.Dst != nil && !q.rule.Invert {
		p, ok := prefixOf(netlink.Route{Dst: q.rule.Dst}, q.family)
		if !ok {
			return nil
		}
		all = []netip.Addr{inside(p)}
	} else if q.rule.Table == unix.RT_TABLE_MAIN && q.rule.SuppressPrefixlen >= 0 && q.route.Name != gateway.WAN {
		for _, n := range q.in.Local.Others { // what such a rule does not hide
			if gateway.FamilyOf(n.Prefix.Addr()) == q.family {
				all = append(all, inside(n.Prefix))
			}
		}
	}
	local := q.in.Local.Prefixes()
	return slices.DeleteFunc(all, func(a netip.Addr) bool {
		return slices.ContainsFunc(local, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// inside returns an address of a network, not its first one.
func inside(p netip.Prefix) netip.Addr {
	if a := p.Addr().Next(); p.Contains(a) {
		return a
	}
	return p.Addr()
}

// source is where packets come from: the box itself, or a link.
type source struct {
	iif  int
	addr netip.Addr
}

// sources returns the box and a client on each lan link, as far as the rule is about them.
func (q passage) sources() (all []source) {
	var of netip.Prefix
	if q.rule.Src != nil && !q.rule.Invert {
		of, _ = prefixOf(netlink.Route{Dst: q.rule.Src}, q.family)
	}
	iif := q.rule.IifName
	if q.rule.Invert {
		iif = ""
	}
	if !of.IsValid() && (iif == "" || iif == "lo") {
		all = append(all, source{})
	}
	for _, l := range q.in.Links {
		if iif == "lo" || iif != "" && l.Name != iif || iif == "" && !slices.Contains(q.cfg.LAN, l.Name) {
			continue
		}
		for _, p := range l.networks {
			if gateway.FamilyOf(p.Addr()) != q.family || p.Addr().IsLinkLocalUnicast() || p.IsSingleIP() || of.IsValid() && !of.Overlaps(p) {
				continue
			}
			at := p
			if of.IsValid() && of.Bits() > p.Bits() {
				at = of
			}
			all = append(all, source{l.Index, client(at, q.in.Local.Own)})
			break
		}
	}
	return all
}

// client returns an address of a network that is not the box's.
func client(p netip.Prefix, own []netip.Prefix) netip.Addr {
	a := inside(p)
	for slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.IsSingleIP() && o.Addr() == a }) && p.Contains(a.Next()) {
		a = a.Next()
	}
	return a
}

// up reports whether the route's table has a default of the family.
func (q passage) up() bool {
	dump, err := q.dump(q.family, &netlink.Route{Table: q.route.Table}, netlink.RT_FILTER_TABLE)
	return err == nil && slices.ContainsFunc(dump, func(n netlink.Route) bool { return isDefault(n) && n.Type == unix.RTN_UNICAST })
}
