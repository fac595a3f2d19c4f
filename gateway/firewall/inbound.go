package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// inboundSuffix follows the route's name in the comment of the rule that refuses
// connections from its tunnel.
const inboundSuffix = ": inbound refused"

// refuseOfGroup drops it from every tunnel that nameroute has made, whichever route it is
// of: one that has just been made, or that a route has left and that is not deleted yet.
func (d *builder) refuseOfGroup() rule.Rule {
	return rule.New("a tunnel: inbound refused", rule.Iifgroup(gateway.RefusingGroup), rule.CtNotOpened(), rule.Drop())
}

// refuseInbound drops what comes in through a tunnel that nameroute made and belongs to no
// flow that began on this side. The box's firewall was written without that interface, and
// its operator is not the owner of the network behind the box: without this rule he could
// reach the box and the LAN. ICMP errors are related to flows and pass. An interface that
// another program made is the firewall's business.
func (d *builder) refuseInbound(r gateway.Route) []rule.Rule {
	if r.Egress.Kind != gateway.EgressWireGuard || r.AcceptInbound {
		return nil
	}
	var rules []rule.Rule
	for _, link := range d.links(r) {
		refuse := rule.New(r.Name+inboundSuffix, rule.Iifname(link), rule.CtNotOpened(), rule.Count(), rule.Drop())
		refuse.KeepCounter = true
		rules = append(rules, refuse)
	}
	return rules
}
