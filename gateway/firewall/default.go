package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// The default routes (`default:`) take what classification has left: new flows to addresses
// that are neither excluded nor local nor on any list. What is for special use and not local
// takes them too. Packets that nobody marks take the same way by policy rules, see package
// unlisted.

// hasDefault reports whether unlisted packets take a route.
func (d *builder) hasDefault() bool {
	_, clients := d.Config.ClientsDefault()
	_, box := d.Config.BoxDefault()
	return clients || box
}

// unlisted gives what classification has left to a route, or to the WAN where only the other
// of clients and the box has a default.
func (d *builder) unlisted(r gateway.Route, ok bool) []rule.Rule {
	if !ok && d.hasDefault() {
		return d.byUplinks()
	}
	return d.byDefault(r, ok)
}

// byDefault gives all that comes here to a route.
func (d *builder) byDefault(r gateway.Route, ok bool) []rule.Rule {
	switch {
	case !ok:
		return nil
	case d.fallsBack(r):
		return []rule.Rule{rule.New("default: "+r.Name+" is down, via wan", append(d.store(d.wan), rule.Accept())...)}
	case r.Group != nil:
		return []rule.Rule{rule.New("default: "+r.Name, rule.Goto(choose(r)))}
	}
	return []rule.Rule{rule.New("default: "+r.Name, append(d.store(r.Mark), rule.Accept())...)}
}

// boundToWAN leaves the box's packets to the WAN that the kernel has sent there before anybody
// marked them: their sockets are bound to its interface or address. Each is judged by itself:
// the flow of another one is not the WAN's.
func (d *builder) boundToWAN() []rule.Rule {
	if _, ok := d.Config.BoxDefault(); !ok {
		return nil
	}
	var rules []rule.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		rules = append(rules, rule.New("bound to the WAN", rule.Oifname(link), rule.MarkIs(gateway.Mark{Mask: d.mask}), rule.SetMark(d.markBy(link)), rule.Accept()))
	}
	return rules
}

// markBy returns the mark of what leaves by one of the WAN's links, and by no other where they are
// named.
func (d *builder) markBy(link string) gateway.Mark {
	for _, u := range d.named() {
		if u.Egress.Link == link {
			return u.Mark
		}
	}
	return d.wan
}

// ownByWAN translates what the box sends to addresses that are listed for the WAN: the socket
// has the source address of the default route, which it had before the address was looked at.
func (d *builder) ownByWAN() []rule.Rule {
	if _, ok := d.Config.BoxDefault(); !ok || d.NoFIB {
		return nil
	}
	var rules []rule.Rule
	for _, link := range sortedLinks(d.WANLinks) {
		rules = append(rules, rule.New("the box's own, listed for the WAN", rule.NoInput(), rule.MarkIs(d.markBy(link)), rule.Oifname(link), rule.SourceNotOfLink(), rule.Masquerade()))
	}
	return rules
}

// olderFlows leaves alone what is older than its listing. Where clients have a default route,
// policy rules would send it there without the WAN's mark. The box's own has its source address
// to be told by.
func (d *builder) olderFlows() []rule.Rule {
	left := rule.New("flow predates its listing", rule.CtEstablished(), rule.Accept())
	if _, ok := d.Config.ClientsDefault(); !ok {
		return []rule.Rule{left}
	}
	return []rule.Rule{
		rule.New("the box's own flow predates its listing", rule.NoInput(), rule.CtEstablished(), rule.Accept()),
		rule.New("flow predates its listing", rule.CtEstablished(), rule.SetMark(d.wan), rule.Accept()),
	}
}

// localByDefault marks what is local as the default routes', for when it is that no longer.
func (d *builder) localByDefault() []rule.Rule {
	var rules []rule.Rule
	if r, ok := d.Config.BoxDefault(); ok {
		rules = append(rules, rule.New("default: "+r.Name, append([]rule.Part{rule.NoInput()}, d.asLocal(r)...)...))
	}
	if r, ok := d.Config.ClientsDefault(); ok {
		rules = append(rules, rule.New("default: "+r.Name, append([]rule.Part{rule.Forwarded()}, d.asLocal(r)...)...))
	}
	return append(rules, rule.New("local", rule.Accept()))
}

// onlyByDefault drops what leaves by another link than that of its default route.
func (d *builder) onlyByDefault() []rule.Rule {
	var rules []rule.Rule
	add := func(whose rule.Part, r gateway.Route, ok bool) {
		if ok && !d.fallsBack(r) {
			rules = append(rules, rule.New("default: "+r.Name, whose, rule.Goto(onlyVia(r))))
		}
	}
	box, ok := d.Config.BoxDefault()
	if ok {
		for _, link := range sortedLinks(d.WANLinks) {
			rules = append(rules, rule.New("bound to the WAN", rule.NoInput(), rule.MarkIs(d.markBy(link)), rule.Oifname(link), rule.Accept()))
		}
	}
	add(rule.NoInput(), box, ok)
	clients, ok := d.Config.ClientsDefault()
	add(rule.Forwarded(), clients, ok)
	return rules
}
