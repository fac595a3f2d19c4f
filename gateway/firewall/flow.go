package firewall

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// wanLabel is the bit of the WAN's flows in their conntrack label. Those of other flows
// have the bit of their route's number.
const wanLabel = gateway.WANLabel

// hasLabels reports whether each route has a bit in the label.
func (s Spec) hasLabels() bool {
	for _, r := range s.Config.Routes {
		if r.Number >= wanLabel {
			return false
		}
	}
	return !s.NoLabels
}

func (d *builder) label(m gateway.Mark) int {
	if m == d.wan || d.Config.WANGroup == nil && slices.ContainsFunc(d.uplinks(), isMark(m)) {
		return wanLabel
	}
	return d.Config.Mask.Number(m.Value)
}

// flowFacts are the facts of which each tells a route's flow.
func (d *builder) flowFacts(m gateway.Mark) []rule.Part {
	if !d.labels {
		return []rule.Part{rule.CtMarkIs(m)}
	}
	return []rule.Part{rule.CtLabel(d.label(m)), rule.CtMarkIs(m)}
}

// setLabel labels the flow, where the kernel can.
func (d *builder) setLabel(m gateway.Mark) []rule.Part {
	if !d.labels {
		return nil
	}
	return []rule.Part{rule.SetCtLabel(d.label(m))}
}

// store gives the packet and its flow a route.
func (d *builder) store(m gateway.Mark) []rule.Part {
	return append([]rule.Part{rule.SetMark(m)}, d.storeInFlow(m)...)
}

func (d *builder) storeInFlow(m gateway.Mark) []rule.Part {
	return append([]rule.Part{rule.SetCtMark(m)}, d.setLabel(m)...)
}

// flowOf matches the direction of a flow that takes its route.
func (d *builder) flowOf(r gateway.Route) []rule.Part { return direction(d.Egress[r.Name].Inbound) }

func (d *builder) flowOfWAN() []rule.Part { return direction(d.wanInbound()) }

func direction(both bool) []rule.Part {
	if both {
		return nil
	}
	return []rule.Part{rule.CtOriginal()}
}

// leavingBy matches the packets of flows that leave through a route's link. On a link that
// lan or the WAN shares, only those of the route.
func (d *builder) leavingBy(r gateway.Route, link string) []rule.Part {
	switch {
	case d.Egress[r.Name].Inbound:
		return []rule.Part{rule.Oifname(link)}
	case d.labels:
		return []rule.Part{rule.CtOriginal(), rule.CtLabel(d.label(r.Mark)), rule.Oifname(link)}
	}
	return []rule.Part{rule.MarkIs(r.Mark), rule.Oifname(link)}
}

// leavingWithoutFlow is leavingBy for packets that conntrack knows no flow of.
func (d *builder) leavingWithoutFlow(r gateway.Route, link string) []rule.Part {
	if d.Egress[r.Name].Inbound {
		return []rule.Part{rule.Oifname(link)}
	}
	return []rule.Part{rule.MarkIs(r.Mark), rule.Oifname(link)}
}
