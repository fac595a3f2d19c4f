package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
)

// The codes of findings and of the verdict. Their meaning is stable.
const (
	CodeListed        = "listed"
	CodeNotListed     = "not_listed"
	CodeException     = "exception"
	CodeListFailed    = "list_failed"
	CodeHiddenZone    = "hidden_zone"
	CodeBlockOrder    = "block_order"
	CodeClass         = "class"
	CodeRefused       = "files_refused"
	CodeDefault       = "default_route"
	CodeShared        = "shared_address"
	CodeRouteOrder    = "route_order"
	CodeMatch         = "match"
	CodeExcluded      = "excluded"
	CodePrivate       = "private_removed"
	CodeNoIPv6        = "no_ipv6"
	CodeNoAnswer      = "no_answer"
	CodeNoName        = "no_such_name"
	CodeNoAddress     = "no_address"
	CodeRouteDown     = "route_down"
	CodeDownWAN       = "route_down_wan"
	CodeOtherRule     = "other_rule"
	CodeOtherFirewall = "other_firewall"
	CodeBlocked       = "blocked"
	CodeUnreachable   = "unreachable"
	CodeOtherResolver = "other_resolver"
	CodeOlderFlow     = "older_flow"
	CodeProbeFailed   = "probe_failed"
	CodeLocal         = "local"
	CodePrefix        = "prefix"
)

// weights are the codes from what decides most to what decides least: the first one that was
// found is the verdict's.
var weights = []string{
	CodeRouteDown, CodeOtherRule, CodeOtherFirewall, CodeBlocked, CodeUnreachable, CodeNoAnswer, CodePrivate, CodeExcluded, CodeLocal, CodeDownWAN,
	CodeRouteOrder, CodeMatch, CodeOtherResolver, CodeOlderFlow, CodeShared, CodeProbeFailed,
	CodeListFailed, CodeHiddenZone, CodeBlockOrder, CodeException, CodeClass, CodePrefix, CodeRefused, CodeNoName, CodeNoIPv6, CodeNoAddress, CodeDefault, CodeListed, CodeNotListed,
}

// fine are the codes of what is as the files say.
var fine = []string{CodeListed, CodeNotListed, CodeException, CodeClass, CodeDefault, CodeMatch, CodeNoName, CodeNoIPv6, CodeNoAddress, CodePrefix, CodeLocal}

// conclude finds the verdict.
func (l *look) conclude() {
	if l.doc.Name != "" {
		l.concludeName()
		l.concludeAnswers()
	}
	for i := range l.doc.Addresses {
		l.concludeAddress(&l.doc.Addresses[i])
	}
	l.dropMinor()
	slices.SortStableFunc(l.doc.Findings, func(a, b Finding) int { return l.weight(a.Code) - l.weight(b.Code) })
	because := ""
	if len(l.doc.Findings) > 0 {
		l.doc.Code, because = l.doc.Findings[0].Code, l.doc.Findings[0].Text
	}
	l.doc.State = status.Good
	switch {
	case slices.ContainsFunc(l.doc.Findings, func(f Finding) bool { return !slices.Contains(fine, f.Code) }):
		l.doc.State = status.Bad
	case len(l.doc.Problems) > 0 || len(l.doc.Findings) == 0:
		l.doc.State = status.Unknown
	}
	l.doc.Verdict = l.subject() + " " + l.goes()
	if because != "" {
		l.doc.Verdict += ": " + because
	}
	slices.SortStableFunc(l.doc.Remedies, func(a, b Remedy) int { return l.weight(a.Code) - l.weight(b.Code) })
}

// weight is the place of a code among weights. That a name has no address of one family decides
// nothing where it has some of the other.
func (l *look) weight(code string) int {
	if (code == CodeNoIPv6 || code == CodeNoAddress) && len(l.doc.Addresses) > 0 {
		return len(weights)
	}
	return slices.Index(weights, code)
}

// dropMinor leaves out what says nothing of a name that takes the WAN anyway.
func (l *look) dropMinor() {
	switch {
	case l.doc.found(CodeOtherResolver) == nil:
	case l.answering().meant() == gateway.WAN:
		l.doc.Findings = slices.DeleteFunc(l.doc.Findings, func(f Finding) bool { return f.Code == CodeOtherResolver })
	default:
		l.remedyOtherResolver()
	}
}

// subject is what the verdict is about.
func (l *look) subject() string {
	what := l.doc.Name
	if what == "" && len(l.doc.Addresses) > 0 {
		what = l.doc.Addresses[0].Address.String()
	}
	if l.client.Address.IsValid() {
		what += ", asked for by " + l.client.Address.String() + ","
	}
	return what
}

// goes says which way new flows take.
func (l *look) goes() string {
	type group struct {
		egress string
		addrs  []string
	}
	var groups []group
	for _, a := range l.doc.Addresses {
		egress := "by route " + a.Packet.Route + " (" + a.Packet.Link + ")"
		switch {
		case a.Packet.Refused != "":
			egress = "nowhere"
		case !a.Packet.Passes:
			egress = "nowhere, blocked"
		case a.Packet.Route == gateway.WAN && a.Local != "":
			egress = "by " + a.Packet.Link + ", unrouted"
		case a.Packet.Route == gateway.WAN:
			egress = "by the WAN (" + a.Packet.Link + ")"
		}
		i := slices.IndexFunc(groups, func(g group) bool { return g.egress == egress })
		if i < 0 {
			i, groups = len(groups), append(groups, group{egress: egress})
		}
		groups[i].addrs = append(groups[i].addrs, a.Address.String())
	}
	switch len(groups) {
	case 0:
		return "goes nowhere, because no address is known"
	case 1:
		return "goes " + groups[0].egress
	}
	var words []string
	for _, g := range groups {
		words = append(words, fmt.Sprintf("%s (%s)", g.egress, strings.Join(g.addrs, ", ")))
	}
	return "goes " + strings.Join(words, " and ")
}

// ExitError returns an error with the exit code that tells a script what is known.
func (d Doc) ExitError() error {
	switch d.State {
	case status.Bad:
		return &exit.Error{Code: exit.Down}
	case status.Unknown:
		return &exit.Error{Code: exit.Unknown}
	}
	return nil
}

// concludeAnswers finds what is wrong with the answers.
func (l *look) concludeAnswers() {
	for _, q := range l.doc.Queries {
		switch {
		case q.Error != "":
			l.find(CodeNoAnswer, "the question for %s was not answered: %s", q.Type, q.Error)
		case q.Rcode == "NXDOMAIN":
			l.find(CodeNoName, "there is no such name, says %s", upstreamOf(q))
		case q.Rcode != "NOERROR" && q.Rcode != "":
			l.find(CodeNoAnswer, "the answer for %s is %s%s", q.Type, q.Rcode, reasons(q.Reasons))
			l.remedyUpstream()
			l.concludeRoute(l.answering().meant())
		case q.Type == "A" && len(q.Addrs) == 0 && len(q.Removed) == 0:
			l.find(CodeNoAddress, "it has no IPv4 address")
		}
		for _, r := range q.Removed {
			if r.Why == whyPrivate {
				l.find(CodePrivate, "%s, which %s answers, is private, and *rebind* removes it", r.Address, r.Upstream)
				l.remedyRebind()
			} else {
				l.find(CodeNoIPv6, "its IPv6 address %s is left out, because route %s has no IPv6", r.Address, l.answering().meant())
				l.remedy(CodeNoIPv6, "give route "+l.answering().meant()+" IPv6: an IPv6 `Address` and `AllowedIPs = ::/0` in the provider's file, if the provider has it")
			}
		}
	}
}

// concludeRoute says why nothing leaves via a route, the queries for its names included.
func (l *look) concludeRoute(route string) {
	if route == gateway.WAN {
		return
	}
	for _, d := range l.diversions(route) {
		l.foundDiversion(d)
	}
	if r, _ := l.cfg.Route(route); r.OnDown == gateway.Block && !l.states[route].Up() {
		l.find(CodeRouteDown, "route %s is down%s, and its packets are blocked (`on_down: block`)", route, l.downBecause(route))
		l.remedyDown(CodeRouteDown, route)
	}
}

func upstreamOf(q Query) string {
	if q.Upstream != "" {
		return q.Upstream
	}
	return "the cache"
}

func reasons(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, "; ")
}
