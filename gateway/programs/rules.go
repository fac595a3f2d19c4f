package programs

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// AddRules adds the policy rules of users whose programs take a route with all they send.
// They are for the moment before a packet has its mark, when the kernel chooses its source
// address, and for packets that no nft table marks. The kernel itself sends the last packets
// of a connection whose socket is closed, as nobody's: these are known by the route's address.
// A route with `on_down: wan` has none of these rules: while it is down they would refuse what
// takes the WAN.
func AddRules(cfg *gateway.Config, in policy.Inputs, found map[string]gateway.Programs, want *policy.State) {
	a := adder{cfg: cfg, in: in, want: want}
	for _, class := range cfg.Clients {
		r, ok := cfg.Route(class.Route)
		if !ok || r.OnDown == gateway.FallBack || len(found[class.Name].UIDs) == 0 {
			continue
		}
		for _, uid := range found[class.Name].UIDs {
			a.addUser(r, uid)
		}
		if r.Name == gateway.WAN {
			continue // its addresses are the box's
		}
		for _, egress := range append(cfg.Members(r), r) {
			a.addAddresses(egress)
		}
	}
	want.Sort()
}

type adder struct {
	cfg  *gateway.Config
	in   policy.Inputs
	want *policy.State
}

// add adds a rule for unmarked packets, once.
func (a adder) add(r policy.Rule) {
	r.Mark = gateway.Mark{Mask: uint32(a.cfg.Mask)}
	if slices.Contains(a.in.Supported(), r.Family) && !slices.Contains(a.want.Rules, r) {
		a.want.Rules = append(a.want.Rules, r)
	}
}

func (a adder) addUser(r gateway.Route, uid uint32) {
	for _, p := range a.cfg.Exclude {
		a.add(policy.Rule{Family: gateway.FamilyOf(p.Addr()), Priority: a.cfg.Priority, Dst: p, User: uid, Table: unix.RT_TABLE_MAIN, Suppress: -1})
	}
	for _, f := range gateway.Families {
		if r.Name == gateway.WAN { // its table has nothing but defaults
			a.add(policy.Rule{Family: f, Priority: a.cfg.Priority, User: uid, Table: unix.RT_TABLE_MAIN, Suppress: gateway.Suppressed(f)})
		}
		a.add(policy.Rule{Family: f, Priority: r.Priority, User: uid, Table: r.Table, Suppress: -1})
	}
}

// addAddresses leads packets from the addresses of a route's own interface to its table.
func (a adder) addAddresses(r gateway.Route) {
	if r.Egress.Kind != gateway.EgressWireGuard && r.Egress.Kind != gateway.EgressInterface {
		return
	}
	for _, l := range a.in.Links {
		for _, addr := range l.Addrs {
			if l.Name == r.Egress.Link && !addr.IsLinkLocalUnicast() {
				a.add(policy.Rule{Family: gateway.FamilyOf(addr), Priority: r.Priority, Src: netip.PrefixFrom(addr, addr.BitLen()), Table: r.Table, Suppress: -1})
			}
		}
	}
}
