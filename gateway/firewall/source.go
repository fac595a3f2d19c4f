package firewall

import (
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// Source is what source addresses are translated to; zero: they stay.
type Source struct {
	SNAT4      netip.Addr // invalid: none
	SNAT6      netip.Addr
	Masquerade bool // for egresses whose address changes
}

// parts are the statements that translate, each for a rule of its own.
func (s Source) parts() (parts []rule.Part) {
	if s.Masquerade {
		return []rule.Part{rule.Masquerade()}
	}
	for _, a := range []netip.Addr{s.SNAT4, s.SNAT6} {
		if a.IsValid() {
			parts = append(parts, rule.SNAT(a))
		}
	}
	return parts
}

// SNATTo translates to the first address of each family.
func SNATTo(addrs []netip.Addr) (s Source) {
	for _, a := range addrs {
		switch {
		case a.Is4() && !s.SNAT4.IsValid():
			s.SNAT4 = a
		case a.Is6() && !s.SNAT6.IsValid():
			s.SNAT6 = a
		}
	}
	return s
}

// sourceNAT precedes the source NAT of all other programs: the first chain that translates
// a connection decides.
func (d *builder) sourceNAT() []rule.Rule {
	rules := append(d.onlyBridged(), d.ownByWAN()...)
	for _, r := range d.Config.Routes {
		e := d.Egress[r.Name]
		for _, link := range d.links(r) {
			for _, p := range e.Source.parts() {
				rules = append(rules, rule.New(r.Name, append(d.leavingBy(r, link), p)...))
			}
			for _, p := range e.Own.parts() {
				rules = append(rules, rule.New(r.Name+": the box's own", slices.Concat(d.leavingBy(r, link), d.ownOfAnother(), []rule.Part{p})...))
			}
		}
	}
	return slices.Concat(rules, d.foreignOfPrograms(), d.uplinkNAT())
}

// ownOfAnother matches what the box sends from an address that is not the link's.
func (d *builder) ownOfAnother() []rule.Part {
	if d.NoFIB {
		return []rule.Part{rule.NoInput()}
	}
	return []rule.Part{rule.NoInput(), rule.SourceNotOfLink()}
}
