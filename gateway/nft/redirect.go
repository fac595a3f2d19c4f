package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
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
func (d *desire) redirect() []chain {
	if !d.Config.Redirect.On {
		return nil
	}
	chains := []chain{
		{name: chainAlone, rules: d.leftAlone()},
		{name: chainToUs, rules: d.toUs()},
		{name: chainRedirect, kind: "nat", hook: "prerouting", priority: priorityDstNAT, rules: d.fromLAN(PortDNS, chainToUs)},
	}
	if d.Config.Redirect.Refuse {
		chains = append(chains,
			chain{name: chainRefuse, rules: refuse()},
			chain{name: chainDoT, kind: "filter", hook: "forward", priority: priorityFilter, rules: d.fromLAN(portDoT, chainRefuse)})
	}
	return chains
}

func (d *desire) fromLAN(port uint16, to string) []rule {
	var rules []rule
	for _, link := range sortedLinks(d.Config.LAN) {
		for _, proto := range protocols {
			rules = append(rules, newRule("lan", iifname(link), dport(proto, port), jump(to)))
		}
	}
	return rules
}

var protocols = [...]string{"udp", "tcp"}

// leftAlone: what goes to the box itself, to a connected network or an address that the
// user keeps is no question to the internet (a resolver on lan, whose questions cross
// the box where bridges are filtered); and what is excepted.
func (d *desire) leftAlone() []rule {
	var rules []rule
	for _, f := range gateway.Families {
		rules = append(rules, newRule("its own resolver", daddrIn(f, familySet(setKeep, f)), accept()))
	}
	for _, f := range gateway.Families {
		if len(Merge(d.Config.Redirect.Except, f)) == 0 {
			continue
		}
		name := familySet(setExcept, f)
		rules = append(rules, newRule("an excepted client", saddrIn(f, name), accept()),
			newRule("an excepted resolver", daddrIn(f, name), accept()))
	}
	return rules
}

// toUs sends questions on to the listener that answers them.
func (d *desire) toUs() []rule {
	rules := []rule{newRule("exceptions", jump(chainAlone))}
	for _, f := range gateway.Families {
		for _, proto := range protocols {
			l, ok := d.answering(f, proto)
			if !ok {
				continue
			}
			r := newRule(askedUs+": "+questionsBy(f, proto), protocolIs(f, proto), count(), sendTo(f, l))
			r.carry = true
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
func refuse() []rule {
	tcp := newRule(askInstead+": TCP", part{"meta l4proto tcp", l4proto(unix.IPPROTO_TCP)}, count(), rejectReset())
	udp := newRule(askInstead+": UDP", part{"meta l4proto udp", l4proto(unix.IPPROTO_UDP)}, count(), rejectPort())
	tcp.carry, udp.carry = true, true
	return []rule{newRule("exceptions", jump(chainAlone)), tcp, udp}
}

// exceptSets are empty where nothing is excepted, and then not there.
func (d *desire) exceptSets() []set {
	var sets []set
	if !d.Config.Redirect.On {
		return nil
	}
	for _, f := range gateway.Families {
		if ranges := Merge(d.Config.Redirect.Except, f); len(ranges) > 0 {
			sets = append(sets, set{name: familySet(setExcept, f), family: f, ranges: ranges, base: true})
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
func (d *desire) sentOn() []rule {
	none := gateway.Mark{Mask: d.mask}
	var rules []rule
	for _, f := range gateway.Families {
		rules = append(rules, newRule("never rerouted", markIsSet(d.mask), ctOriginal(), ctTranslated(),
			daddrIn(f, familySet(setKeep, f)), setMark(none), setCtMark(none)))
	}
	return rules
}

func protocolIs(f gateway.Family, proto string) part {
	number := map[string]byte{"udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP}[proto]
	p := nfproto(f)
	return part{p.text + " meta l4proto " + proto, slices.Concat(p.exprs, l4proto(number))}
}

// sendTo changes where a packet goes: to the address of the link that it came in by, or
// to the one that is listened on.
func sendTo(f gateway.Family, l Listener) part {
	if !l.Addr.IsValid() {
		return part{fmt.Sprintf("redirect to :%d", l.Port), []expr.Any{
			&expr.Immediate{Register: reg, Data: big16(l.Port)}, &expr.Redir{RegisterProtoMin: reg, RegisterProtoMax: reg}}}
	}
	return part{fmt.Sprintf("dnat %s to %s", familyWord(f), netip.AddrPortFrom(l.Addr, l.Port)), []expr.Any{
		&expr.Immediate{Register: reg, Data: l.Addr.AsSlice()}, &expr.Immediate{Register: reg + 1, Data: big16(l.Port)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(nfFamily(f)), RegAddrMin: reg, RegAddrMax: reg, RegProtoMin: reg + 1, RegProtoMax: reg + 1}}}
}

// ctTranslated matches flows whose destination was changed.
func ctTranslated() part {
	const dnat = 1 << 5 // IPS_DST_NAT
	return part{"ct status dnat", []expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg},
		and(native32(dnat), native32(0)), differ(native32(0))}}
}

func rejectReset() part {
	return part{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
}

// rejectPort is port unreachable, of either family's ICMP; nft(8) prints nothing more of it.
func rejectPort() part {
	return part{"reject", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}}
}
