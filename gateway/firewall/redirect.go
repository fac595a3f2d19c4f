package firewall

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// The chains of `redirect_dns`, and what counts in them. nft(8) knows the word redirect,
// so none is called that.
const (
	chainRedirect = "questions"      // lan's questions to others, on their way in
	chainToUs     = "ask_us"         // where they are sent on to our listener
	chainDoT      = "encrypted"      // lan's questions in DNS over TLS or QUIC, on their way through
	chainRefuse   = "refuse"         // where they are refused
	chainAlone    = "left_alone"     // ends the chain that jumps to it, for what is not ours to touch
	setExcept     = "except"         // of redirect_dns
	askedUs       = "asked of us"    // comments of what counts redirected questions
	askInstead    = "ask us instead" // and of what counts refused ones
)

// PortDNS is where questions are asked that `redirect_dns` redirects.
const PortDNS = 53

const portDoT = 853 // RFC 7858, RFC 9250

// redirect are the chains of `redirect_dns`, none where it is off. Only what comes in
// by lan's links is meant: the box's own questions are not.
func (d *desire) redirect() []nft.Chain {
	if !d.Config.Redirect.On {
		return nil
	}
	chains := []nft.Chain{
		{Name: chainAlone, Rules: d.leftAlone()},
		{Name: chainToUs, Rules: d.toUs()},
		{Name: chainRedirect, Type: "nat", Hook: "prerouting", Priority: nft.PriorityDstNAT, Rules: d.fromLAN(PortDNS, chainToUs)},
	}
	if d.Config.Redirect.Refuse {
		chains = append(chains,
			nft.Chain{Name: chainRefuse, Rules: refuse()},
			nft.Chain{Name: chainDoT, Type: "filter", Hook: "forward", Priority: nft.PriorityFilter, Rules: d.fromLAN(portDoT, chainRefuse)})
	}
	return chains
}

func (d *desire) fromLAN(port uint16, to string) []nft.Rule {
	var rules []nft.Rule
	for _, link := range sortedLinks(d.Config.LAN) {
		for _, proto := range protocols {
			rules = append(rules, nft.NewRule("lan", nft.Iifname(link), nft.Dport(proto, port), nft.Jump(to)))
		}
	}
	return rules
}

var protocols = [...]string{"udp", "tcp"}

// leftAlone: what goes to the box itself, to a connected network or an address that the
// user keeps is no question to the internet (a resolver on lan, whose questions cross
// the box where bridges are filtered); and what is excepted.
func (d *desire) leftAlone() []nft.Rule {
	var rules []nft.Rule
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("its own resolver", nft.DaddrIn(f, familySet(setKeep, f)), nft.Accept()))
	}
	for _, f := range gateway.Families {
		if len(nft.Merge(d.Config.Redirect.Except, f)) == 0 {
			continue
		}
		name := familySet(setExcept, f)
		rules = append(rules, nft.NewRule("an excepted client", nft.SaddrIn(f, name), nft.Accept()),
			nft.NewRule("an excepted resolver", nft.DaddrIn(f, name), nft.Accept()))
	}
	return rules
}

// toUs sends questions on to the listener that answers them.
func (d *desire) toUs() []nft.Rule {
	rules := []nft.Rule{nft.NewRule("exceptions", nft.Jump(chainAlone))}
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			l, ok := d.answering(f, proto)
			if !ok {
				continue
			}
			r := nft.NewRule(askedUs+": "+questionsBy(f, proto), nft.L4ProtoOf(f, proto), nft.Count(), sendTo(l))
			r.KeepCounter = true
			rules = append(rules, r)
		}
	}
	return rules
}

// answering finds the listener for questions of a family and protocol: one on port 53
// rather than another, and one on all addresses rather than on one, because the address
// by which lan reaches the box may change.
func (s Spec) answering(f gateway.Family, proto string) (best Listener, ok bool) {
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
		l = l.plain()
		if !l.DNS || l.Proto != proto || l.Addr.IsValid() && (gateway.FamilyOf(l.Addr) != f || l.Addr.IsLoopback() || l.Addr.IsLinkLocalUnicast()) {
			continue
		}
		if !ok || rank(l) < rank(best) {
			best, ok = l, true
		}
	}
	return best, ok
}

// Unanswered lists the questions that `redirect_dns` cannot redirect, because no listener
// answers them: "UDP over IPv4". It is empty where the redirection is off.
func (s Spec) Unanswered() []string {
	if !s.Config.Redirect.On {
		return nil
	}
	var all []string
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			if _, ok := s.answering(f, proto); !ok {
				all = append(all, questionsBy(f, proto))
			}
		}
	}
	return all
}

func questionsBy(f gateway.Family, proto string) string {
	return fmt.Sprintf("%s over IPv%d", strings.ToUpper(proto), f)
}

// refuse answers as a host where nothing listens, so that the client tries port 53 at once.
func refuse() []nft.Rule {
	tcp := nft.NewRule(askInstead+": TCP", nft.L4Proto("tcp"), nft.Count(), nft.RejectTCPReset())
	udp := nft.NewRule(askInstead+": UDP", nft.L4Proto("udp"), nft.Count(), nft.RejectPort())
	tcp.KeepCounter, udp.KeepCounter = true, true
	return []nft.Rule{nft.NewRule("exceptions", nft.Jump(chainAlone)), tcp, udp}
}

// exceptSets are empty where nothing is excepted, and then not there.
func (d *desire) exceptSets() []nft.Set {
	var sets []nft.Set
	if !d.Config.Redirect.On {
		return nil
	}
	for _, f := range gateway.Families {
		if ranges := nft.Merge(d.Config.Redirect.Except, f); len(ranges) > 0 {
			sets = append(sets, nft.Set{Name: familySet(setExcept, f), Family: f, Ranges: ranges, Required: true})
		}
	}
	return sets
}

// sentOn takes the route's mark off what was classified by where it was sent, and is
// then sent on to an address that is never rerouted: a question to a resolver that a
// listed name has shown to be routed, which we or another program redirect to the box or
// to a host on lan. It would be dropped by the closed door, or answered into the tunnel.
// It stands behind all translation of destinations, and concerns nothing that came in by
// a way out, because that has no mark of its packets.
func (d *desire) sentOn() []nft.Rule {
	none := gateway.Mark{Mask: d.mask}
	var rules []nft.Rule
	for _, f := range gateway.Families {
		rules = append(rules, nft.NewRule("never rerouted", nft.MarkIsSet(d.mask), nft.CtOriginal(), nft.CtDNAT(),
			nft.DaddrIn(f, familySet(setKeep, f)), nft.SetMark(none), nft.SetCtMark(none)))
	}
	return rules
}

// sendTo changes where a packet goes: to the address of the link that it came in by, or
// to the one that is listened on.
func sendTo(l Listener) nft.Part {
	if !l.Addr.IsValid() {
		return nft.Redirect(l.Port)
	}
	return nft.DNAT(netip.AddrPortFrom(l.Addr, l.Port))
}
