package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
)

// maxFlows bounds the flows that are shown of one address.
const maxFlows = 20

// flows finds those that exist to the addresses, and the client's own queries to other
// resolvers.
func (l *look) flows() {
	var others []string
	err := conntrack.Walk(gateway.Mark{}, func(f conntrack.Flow) {
		if l.client.Address.IsValid() && !slices.Contains(l.client.addrs, f.Src.Unmap()) {
			return
		}
		if to, ok := l.asksAnother(f); ok && !slices.Contains(others, to) {
			others = append(others, to)
		}
		for i := range l.doc.Addresses {
			if a := &l.doc.Addresses[i]; f.Dst.Unmap() == a.Address {
				l.addFlow(a, f)
			}
		}
	})
	l.problem("conntrack", err)
	if len(l.older) > 0 {
		l.remedy(CodeOlderFlow, "have the flows classified again; `evict: true` at the route in "+l.cfg.File+" does so whenever addresses are learned", l.older...)
	}
	if len(others) > 0 {
		slices.Sort(others)
		l.find(CodeOtherResolver, "%s asks another resolver: %s", l.client.Address, strings.Join(others, ", "))
	}
}

// publicResolvers are addresses at which DNS over HTTPS is spoken and nothing else is served.
var publicResolvers = []string{
	"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220", "94.140.14.14", "94.140.15.15",
	"2606:4700:4700::1111", "2606:4700:4700::1001", "2001:4860:4860::8888", "2001:4860:4860::8844", "2620:fe::fe", "2620:fe::9",
}

// asksAnother reports whether a flow of the client is one to another resolver.
func (l *look) asksAnother(f conntrack.Flow) (to string, yes bool) {
	dst := f.To.Unmap()
	if l.client.iif == 0 || slices.Contains(l.own, dst) || slices.Contains(l.own, f.Dst.Unmap()) {
		return "", false
	}
	switch {
	case f.Port == 53 && l.cfg.Redirect.On && !l.exempt(f):
		return "", false // what is left of one from before
	case f.Port == 53:
		return dst.String() + " over port 53", true
	case f.Port == 853:
		return dst.String() + " over port 853, encrypted", true
	case f.Port == 443 && slices.Contains(publicResolvers, dst.String()):
		return dst.String() + " over HTTPS", true
	}
	return "", false
}

// exempt reports whether queries of a flow are not redirected.
func (l *look) exempt(f conntrack.Flow) bool {
	return slices.ContainsFunc(l.cfg.Redirect.Except, func(p netip.Prefix) bool { return p.Contains(f.Src.Unmap()) || p.Contains(f.Dst.Unmap()) })
}

func (l *look) addFlow(a *Address, f conntrack.Flow) {
	one := Flow{Source: f.Src.Unmap(), Proto: gateway.ProtocolName(f.Proto), Port: f.Port, Route: l.routeOf(f)}
	want := a.Packet.Route
	if f.Ended {
		return
	}
	if one.Route != want && (one.Port == l.doc.Port || l.doc.Port == 0) {
		if one.Remark = "new flows take " + want; one.Route == gateway.WAN && f.Seen && want != gateway.WAN {
			one.Remark = "older than the listing: it stays until it ends, and new ones take " + want
			l.find(CodeOlderFlow, "%s has a flow to %s that is older than its listing and goes by the WAN until it ends", one.Source, a.Address)
			if c := fmt.Sprintf("conntrack -D -s %s -d %s", one.Source, a.Address); !slices.Contains(l.older, c) {
				l.older = append(l.older, c)
			}
		}
	}
	if len(a.Flows) < maxFlows && !slices.Contains(a.Flows, one) {
		a.Flows = append(a.Flows, one)
	}
}

// routeOf tells the route of a flow by its label, or by its ct mark where it has none.
func (l *look) routeOf(f conntrack.Flow) string {
	for _, r := range l.cfg.Routes {
		if r.Group == nil && f.Labelled(r.Number) {
			return r.Name
		}
	}
	for _, r := range l.cfg.Routes {
		if f.Labelled(r.Number) || !f.Routed() && r.Mark.Matches(f.Mark) {
			return r.Name
		}
	}
	return gateway.WAN
}

// others are the names besides this one that an address was learned for.
func (l *look) otherNames(a netip.Addr) (names []string) {
	for _, h := range l.facts.Held {
		if h.Addr != a {
			continue
		}
		for _, in := range h.In {
			for _, n := range in.Names {
				if n = plainName(n); n != l.doc.Name && !slices.Contains(names, n) {
					names = append(names, n)
				}
			}
		}
	}
	return names
}
