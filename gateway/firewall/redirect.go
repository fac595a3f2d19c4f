package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// The chains and the set of `redirect_dns`, and the comments of the rules that count.
// Redirect alone is a keyword of nft(8).
const (
	chainDNSIn        = "dns_in"       // queries of lan to other resolvers, on arrival
	chainDNSRedirect  = "dns_redirect" // redirects them to our listener
	chainDoTIn        = "dot_in"       // DNS over TLS or QUIC from lan, forwarded
	chainDoTReject    = "dot_reject"   // rejects it
	chainDNSExempt    = "dns_exempt"   // accepts what is exempt, which ends the base chain
	setDNSExempt      = "dns_exempt"   // clients and resolvers that the user exempts
	setDNSLocal       = "dns_local"    // resolvers that are behind lan, or the box itself
	commentRedirected = "redirected"   // redirected queries, by family and protocol
	commentRejected   = "rejected"     // rejected packets, by protocol
)

// PortDNS is the port of the queries that `redirect_dns` redirects.
const PortDNS = 53

const portDoT = 853 // RFC 7858, RFC 9250

// redirectChains returns the chains of `redirect_dns`, none where it is off. They see
// only what comes in from lan, not the box's own queries.
func (d *builder) redirectChains() []nft.Chain {
	if !d.Config.Redirect.On {
		return nil
	}
	chains := []nft.Chain{
		{Name: chainDNSExempt, Rules: d.dnsExempt()},
		{Name: chainDNSRedirect, Rules: d.dnsRedirect()},
		{Name: chainDNSIn, Type: "nat", Hook: "prerouting", Priority: nft.PriorityDstNAT, Rules: d.fromLAN(PortDNS, chainDNSRedirect)},
	}
	if d.Config.Redirect.RejectDoT {
		chains = append(chains,
			nft.Chain{Name: chainDoTReject, Rules: rejectDoT()},
			nft.Chain{Name: chainDoTIn, Type: "filter", Hook: "forward", Priority: nft.PriorityFilter, Rules: d.fromLAN(portDoT, chainDoTReject)})
	}
	return chains
}

func (d *builder) fromLAN(port uint16, to string) []rule.Rule {
	var rules []rule.Rule
	for _, link := range sortedLinks(d.Config.LAN) {
		for _, proto := range protocols {
			rules = append(rules, rule.New("lan", rule.Iifname(link), rule.Dport(proto, port), rule.Jump(to)))
		}
	}
	return rules
}

var protocols = [...]string{"udp", "tcp"}

// dnsExempt accepts queries to resolvers behind lan (they cross the box where bridges are
// filtered, or between two lan links) and to the box itself, and those of exempt clients or
// to exempt resolvers. What else is local is not exempt: the router before this box, or a
// resolver in the uplink's network, is what a client most often has as its own.
func (d *builder) dnsExempt() []rule.Rule {
	var rules []rule.Rule
	for _, f := range gateway.Families {
		rules = append(rules, rule.New("behind lan, or excluded", rule.DaddrIn(f, familySet(setDNSLocal, f)), rule.Accept()))
	}
	for _, f := range gateway.Families {
		if len(span.Merge(d.Config.Redirect.Except, f)) == 0 {
			continue
		}
		name := familySet(setDNSExempt, f)
		rules = append(rules, rule.New("exempt client", rule.SaddrIn(f, name), rule.Accept()),
			rule.New("exempt resolver", rule.DaddrIn(f, name), rule.Accept()))
	}
	return rules
}

// dnsRedirect redirects queries to the listener that answers them.
func (d *builder) dnsRedirect() []rule.Rule {
	rules := []rule.Rule{rule.New("exemptions", rule.Jump(chainDNSExempt))}
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			l, ok := d.listenerFor(f, proto)
			if !ok {
				continue
			}
			r := rule.New(commentRedirected+": "+queriesOver(f, proto), rule.L4ProtoOf(f, proto), rule.Count(), translateTo(l))
			r.KeepCounter = true
			rules = append(rules, r)
		}
	}
	return rules
}

// normalized returns the listener with one form of each address: the zero one for all.
func (l Listener) normalized() Listener {
	l.Addr = l.Addr.Unmap().WithZone("")
	if !l.Addr.IsValid() || l.Addr.IsUnspecified() {
		l.Addr = netip.Addr{}
	}
	return l
}

// listenerFor finds the listener for queries of a family and protocol: one on port 53
// rather than another, and one on all addresses rather than on one, because the address
// at which lan reaches the box may change.
func (s Spec) listenerFor(f gateway.Family, proto string) (best Listener, ok bool) {
	rank := func(l Listener) (n int) {
		if l.Port != PortDNS {
			n += 2
		}
		if l.Addr.IsValid() {
			n++
		}
		return n
	}
	for _, l := range s.Listeners {
		if l = l.normalized(); l.Class == "" && l.DNS && l.Proto == proto && l.reachable(f) && (!ok || rank(l) < rank(best)) {
			best, ok = l, true
		}
	}
	return best, ok
}

// listenerAmong finds the listener of a class for queries of a family to a port, rather one
// on all addresses than on one.
func listenerAmong(own []Listener, f gateway.Family, proto string, port uint16, reachable func(Listener, gateway.Family) bool) (best Listener, ok bool) {
	for _, l := range own {
		if l = l.normalized(); l.For == port && l.Proto == proto && reachable(l, f) && (!ok || !l.Addr.IsValid()) {
			best, ok = l, true
		}
	}
	return best, ok
}

// reachable reports whether clients may reach the listener by a family.
func (l Listener) reachable(f gateway.Family) bool {
	return !l.Addr.IsValid() || gateway.FamilyOf(l.Addr) == f && !l.Addr.IsLoopback() && !l.Addr.IsLinkLocalUnicast()
}

// Unanswered lists the queries that `redirect_dns` cannot redirect because no listener
// answers them, such as "UDP over IPv4". It is empty where the redirection is off.
func (s Spec) Unanswered() []string {
	if !s.Config.Redirect.On {
		return nil
	}
	var all []string
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			if _, ok := s.listenerFor(f, proto); !ok {
				all = append(all, queriesOver(f, proto))
			}
		}
	}
	return all
}

func queriesOver(f gateway.Family, proto string) string {
	return fmt.Sprintf("%s over IPv%d", strings.ToUpper(proto), f)
}

// rejectDoT answers as a host without a listener does: the client then tries port 53 at once.
func rejectDoT() []rule.Rule {
	tcp := rule.New(commentRejected+": TCP", rule.L4Proto("tcp"), rule.Count(), rule.RejectTCPReset())
	udp := rule.New(commentRejected+": UDP", rule.L4Proto("udp"), rule.Count(), rule.RejectPort())
	tcp.KeepCounter, udp.KeepCounter = true, true
	return []rule.Rule{rule.New("exemptions", rule.Jump(chainDNSExempt)), tcp, udp}
}

// DNSLocal returns the resolvers of one family that lan reaches without `redirect_dns`
// and that no `except` names.
func (s Spec) DNSLocal(f gateway.Family) []span.Range {
	return span.Merge(slices.Concat(s.Config.Exclude, s.LAN, gateway.LinkScoped()), f)
}

// dnsExemptSets returns the sets of exempt prefixes; of those that the user exempts none for a
// family without any.
func (d *builder) dnsExemptSets() []nft.Set {
	var sets []nft.Set
	if !d.Config.Redirect.On {
		return nil
	}
	for _, f := range gateway.Families {
		sets = append(sets, nft.Set{Name: familySet(setDNSLocal, f), Family: f, Ranges: d.DNSLocal(f), Required: true})
	}
	for _, f := range gateway.Families {
		if ranges := span.Merge(d.Config.Redirect.Except, f); len(ranges) > 0 {
			sets = append(sets, nft.Set{Name: familySet(setDNSExempt, f), Family: f, Ranges: ranges, Required: true})
		}
	}
	return sets
}

// translateTo translates the destination to the listener: at the address of the
// interface that the packet came in by, or at the one address it listens on.
func translateTo(l Listener) rule.Part {
	if !l.Addr.IsValid() {
		return rule.Redirect(l.Port)
	}
	return rule.DNAT(netip.AddrPortFrom(l.Addr, l.Port))
}
