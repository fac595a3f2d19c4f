package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Keys of the probes through a route.
const (
	keyProbes = "probe"
	keyEvery  = "every"
	keyFails  = "fails"
	keyGood   = "good"
)

const (
	wantPing = "want ping ADDRESS"
	wantTCP  = "want tcp ADDRESS:PORT, with an IPv6 address in brackets"
	wantHTTP = "want http URL, or http URL STATUS"
	wantDNS  = "want dns NAME, or dns NAME RESOLVER"
)

func (rr *routeReader) probingFields() []field {
	return []field{
		{key: keyProbes, want: "want probes such as [ping 192.0.2.1]", read: rr.readProbes},
		{key: keyEvery, read: func(v value) {
			set(&rr.Probing.Every)(v.durationIn(gateway.MinProbeEvery, gateway.MaxProbeEvery))
		}},
		{key: keyFails, read: func(v value) { set(&rr.Probing.Fails)(v.number(1, gateway.MaxProbeCount)) }},
		{key: keyGood, read: func(v value) { set(&rr.Probing.Good)(v.number(1, gateway.MaxProbeCount)) }},
	}
}

// probing fills in the defaults of a route that has probes.
func (rr *routeReader) probing() {
	p := &rr.Probing
	if !rr.has(keyProbes) && !rr.has(keyEgress) {
		for _, key := range []string{keyEvery, keyFails, keyGood} {
			if rr.has(key) {
				rr.r.problem(rr.key+"."+key, "", "only valid with probe", "")
			}
		}
		*p = gateway.Probing{}
		return
	}
	p.Every = cmp.Or(p.Every, gateway.DefaultProbeEvery)
	p.Fails = cmp.Or(p.Fails, gateway.DefaultProbeFails)
	p.Good = cmp.Or(p.Good, gateway.DefaultProbeGood)
}

func (rr *routeReader) readProbes(v value) {
	items := v.items("want probes such as [ping 192.0.2.1]")
	if len(items) > gateway.MaxProbes {
		v.problem(fmt.Sprintf("%d probes", len(items)), fmt.Sprintf("want at most %d", gateway.MaxProbes))
		return
	}
	for _, item := range items {
		p, ok := item.probe()
		switch {
		case !ok:
		default:
			addOnce(&rr.Probing.Probes, item, p)
		}
	}
	if v.node.Kind != 0 && len(items) == 0 {
		v.problem("is an empty list", "want probes such as [ping 192.0.2.1]")
	}
}

// probe reads one probe: its kind, and what that needs.
func (v value) probe() (p gateway.Probe, ok bool) {
	const want = "want handshake, ping, tcp, http or dns, and what to ask"
	text, ok := v.text(want)
	if !ok {
		return p, false
	}
	words := strings.Fields(text)
	if len(words) == 0 {
		v.problem("is empty", want)
		return p, false
	}
	kinds := []string{string(gateway.ProbeHandshake), string(gateway.ProbePing), string(gateway.ProbeTCP), string(gateway.ProbeHTTP), string(gateway.ProbeDNS)}
	p.Kind = gateway.ProbeKind(words[0])
	count := func(least, most int, want string) bool {
		if n := len(words) - 1; n < least || n > most {
			v.problem("not a probe", want)
			return false
		}
		return true
	}
	switch p.Kind {
	case gateway.ProbeHandshake:
		return p, count(0, 0, "want handshake alone")
	case gateway.ProbePing:
		if ok = count(1, 1, wantPing); ok {
			p.Addr, ok = v.part(words[1]).host(wantPing)
		}
	case gateway.ProbeTCP:
		if ok = count(1, 1, wantTCP); ok {
			ok = v.hostAndPort(words[1], &p)
		}
	case gateway.ProbeHTTP:
		if ok = count(1, 2, wantHTTP); ok {
			p.URL, ok = v.part(words[1]).webAddress()
		}
		if ok && len(words) == 3 {
			p.Code, ok = v.part(words[2]).number(100, 599)
		}
	case gateway.ProbeDNS:
		if ok = count(1, 2, wantDNS); ok {
			p.Name, ok = v.part(words[1]).dnsName()
		}
		if ok && len(words) == 3 {
			resolver, good := v.part(words[2]).resolver()
			p.Addr, p.Port, ok = resolver.Addr(), resolver.Port(), good
		}
	default:
		v.problem("unknown probe", problem.DidYouMean(words[0], kinds))
		return p, false
	}
	return p, ok
}

// part is a word of a value, in its place.
func (v value) part(word string) value {
	n := *v.node
	n.Value = word
	return value{v.r, v.key, &n}
}

// hostAndPort reads ADDRESS:PORT.
func (v value) hostAndPort(text string, p *gateway.Probe) (ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || strings.Count(text, ":") > 1 && !strings.HasSuffix(text[:i], "]") {
		v.problem("has no port", wantTCP)
		return false
	}
	port, err := strconv.ParseUint(text[i+1:], 10, 16)
	if err != nil || port == 0 {
		v.problem("not a port", "want 1 to 65535")
		return false
	}
	p.Port = uint16(port)
	p.Addr, ok = v.part(strings.Trim(text[:i], "[]")).host(wantTCP)
	return ok
}

// dnsName reads a name in the form in which it is asked for.
func (v value) dnsName() (string, bool) {
	s, ok := v.text(wantDNS)
	if !ok {
		return "", false
	}
	if s == "." { // the root
		return s, true
	}
	s = strings.TrimSuffix(s, ".")
	bad := s == "" || len(s) > 253 || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '/' || c == ':' })
	for label := range strings.SplitSeq(s, ".") {
		bad = bad || label == "" || len(label) > 63
	}
	if bad {
		v.problem("not a name", wantDNS)
		return "", false
	}
	return s, true
}
