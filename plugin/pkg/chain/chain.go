// Package chain tells what of an answer belongs to its query: the records of the queried
// name, of the names that CNAME and DNAME lead from there to, and nothing else. What
// another name has in an answer, a resolver or who forges its messages made up, and an
// address of it must be neither learned nor given to a client.
//
// Everything is linear in the size of the message, and what one answer may bring is
// bounded.
package chain

import (
	"iter"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of one answer. Records beyond them are removed, so that what a client gets is
// what its route has learned.
const (
	// MaxNames is how many CNAME and DNAME records are followed. BIND follows 11 and
	// unbound 12; a longer chain goes on with the client's next query, for its last name.
	MaxNames = 32
	// MaxAddresses is how many addresses an answer may have, of A, AAAA, HTTPS, SVCB and
	// URI records together. Large pools have dozens.
	MaxAddresses = 256
	// MaxTargets is how many records may name another host, as SRV and MX do: as many as a
	// large directory domain has controllers.
	MaxTargets = 128
)

// removed counts the records that were removed from an answer section.
type removed struct {
	foreign int // of a name that is not on the chain
	surplus int // beyond a bound; a record that lost some of its hints counts, too
}

// Clean returns an answer with only what belongs to a query for one of the names: those
// under which the client and the handlers that write below know it, the client's first.
// Where there is nothing to remove it is m itself, else a changed copy, which shares what
// records did not change.
//
// The answer section keeps the records of the names on the chain, in their order; a DNAME
// that has no CNAME with it gets one (RFC 6672 section 3.1). The authority section keeps
// what makes a negative answer cacheable and provable: SOA and NS of a zone that holds a
// name of the chain, and NSEC, NSEC3 and DS, with their signatures. The additional section
// keeps what is about the message (OPT, TSIG); all else there is optional (RFC 2181
// section 9) and of other names.
func Clean(m *dns.Msg, names ...string) *dns.Msg {
	out, gone := clean(m, names)
	if gone != (removed{}) {
		report(names[0], gone)
	}
	return out
}

func clean(m *dns.Msg, names []string) (*dns.Msg, removed) {
	if inOrder(m, names[0]) {
		return m, removed{}
	}
	c := walk(m.Answer, names)
	out := *m
	var gone removed
	out.Answer, gone = c.answer(m.Answer)
	out.Ns = filter(m.Ns, c.inAuthority)
	out.Extra = filter(m.Extra, ofMessage)
	if gone != (removed{}) {
		out.AuthenticatedData = false // it differs from what was validated
	}
	return &out, gone
}

// inOrder reports whether there is nothing to remove from an answer whose records are in
// the order of the chain, as nearly all are. It allocates nothing.
func inOrder(m *dns.Msg, name string) bool {
	var n budget
	at := name
	for i, rr := range m.Answer {
		if !equal(rr.Header().Name, at) || n.take(rr) {
			return false
		}
		switch rr := rr.(type) {
		case *dns.CNAME:
			if i >= MaxNames {
				return false
			}
			at = rr.Target
		case *dns.DNAME:
			return false
		}
	}
	for _, rr := range m.Ns {
		if !provable(rr) && !(ofZone(rr) && (isAbove(rr.Header().Name, at) || isAbove(rr.Header().Name, name))) {
			return false
		}
	}
	for _, rr := range m.Extra {
		if !ofMessage(rr) {
			return false
		}
	}
	return true
}

// chain holds the names on the chain, in lower case, and what leads from one to the next.
type chain struct {
	names  map[string]bool
	cnames map[string]*dns.CNAME // the first one of each owner
	dnames map[string]*dns.DNAME
	used   map[*dns.DNAME]*dns.CNAME // those that lead on: what they synthesize, nil where the answer has it
	zones  map[string]bool           // the names and all above them; made when it is needed
}

// walk follows the chain from each of the names.
func walk(answer []dns.RR, names []string) *chain {
	c := &chain{names: map[string]bool{}, cnames: map[string]*dns.CNAME{}, dnames: map[string]*dns.DNAME{}, used: map[*dns.DNAME]*dns.CNAME{}}
	for _, rr := range answer {
		owner := canonical(rr.Header().Name)
		switch rr := rr.(type) {
		case *dns.CNAME:
			if c.cnames[owner] == nil {
				c.cnames[owner] = rr
			}
		case *dns.DNAME:
			if c.dnames[owner] == nil {
				c.dnames[owner] = rr
			}
		}
	}
	for _, name := range names {
		at := canonical(name)
		for range MaxNames {
			if c.names[at] {
				break
			}
			c.names[at] = true
			if at = c.next(at); at == "" {
				break
			}
		}
	}
	return c
}

// next returns the name that one on the chain leads to, or "".
func (c *chain) next(at string) string {
	cname := c.cnames[at]
	dname, made := c.substitution(at)
	switch {
	case cname == nil && dname == nil:
		return ""
	case cname == nil:
		c.used[dname] = made
		return canonical(made.Target)
	case dname != nil && equal(made.Target, cname.Target):
		c.used[dname] = nil
	}
	return canonical(cname.Target)
}

// substitution finds the DNAME above a name, the nearest one, and makes the CNAME that it
// means (RFC 6672 section 2.2). Both are nil without one. A DNAME leads on once: a
// second time is a loop.
func (c *chain) substitution(at string) (*dns.DNAME, *dns.CNAME) {
	if len(c.dnames) == 0 || at == "." {
		return nil, nil
	}
	for above := range zonesOf(at) {
		d := c.dnames[above]
		if d == nil || above == at {
			continue
		}
		if _, again := c.used[d]; again {
			return nil, nil
		}
		target := at
		if above != "." {
			target = strings.TrimSuffix(at, above)
		}
		target += strings.TrimPrefix(d.Target, ".")
		if _, ok := dns.IsDomainName(target); !ok {
			return nil, nil
		}
		return d, &dns.CNAME{Hdr: dns.RR_Header{Name: at, Rrtype: dns.TypeCNAME, Class: d.Hdr.Class, Ttl: d.Hdr.Ttl}, Target: target}
	}
	return nil, nil
}

// zonesOf yields a name and the names above it, from the nearest to the root.
func zonesOf(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for off, end := 0, name == "."; ; off, end = dns.NextLabel(name, off) {
			if end {
				yield(".")
				return
			}
			if !yield(name[off:]) {
				return
			}
		}
	}
}

// answer returns the records of an answer section that belong to the chain.
func (c *chain) answer(records []dns.RR) (kept []dns.RR, gone removed) {
	var n budget
	for _, rr := range records {
		if !c.has(rr) {
			gone.foreign++
			continue
		}
		if n.take(rr) {
			gone.surplus++
			if rr = n.reduced(rr); rr == nil {
				continue
			}
		}
		kept = append(kept, rr)
		if d, ok := rr.(*dns.DNAME); ok && c.used[d] != nil {
			kept = append(kept, c.used[d])
		}
	}
	return kept, gone
}

// has reports whether a record of the answer section belongs to the chain.
func (c *chain) has(rr dns.RR) bool {
	owner := canonical(rr.Header().Name)
	switch rr := rr.(type) {
	case *dns.CNAME:
		return c.names[owner] && c.cnames[owner] == rr // another one would lead elsewhere
	case *dns.DNAME:
		_, leads := c.used[rr]
		return leads || c.names[owner] && c.dnames[owner] == rr
	case *dns.RRSIG:
		if d := c.dnames[owner]; d != nil && rr.TypeCovered == dns.TypeDNAME {
			_, leads := c.used[d]
			return leads || c.names[owner]
		}
	}
	return c.names[owner]
}

// inAuthority reports whether a record of the authority section is kept.
func (c *chain) inAuthority(rr dns.RR) bool {
	if provable(rr) {
		return true
	}
	if !ofZone(rr) {
		return false
	}
	if c.zones == nil {
		c.zones = map[string]bool{}
		for name := range c.names {
			for zone := range zonesOf(name) {
				if c.zones[zone] {
					break
				}
				c.zones[zone] = true
			}
		}
	}
	return c.zones[canonical(rr.Header().Name)]
}

// typeOf returns the type of a record, or for a signature the type that it covers.
func typeOf(rr dns.RR) uint16 {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return sig.TypeCovered
	}
	return rr.Header().Rrtype
}

// provable reports whether a record proves that another one does not exist.
func provable(rr dns.RR) bool {
	switch typeOf(rr) {
	case dns.TypeNSEC, dns.TypeNSEC3, dns.TypeDS:
		return true
	}
	return false
}

func ofZone(rr dns.RR) bool {
	t := typeOf(rr)
	return t == dns.TypeSOA || t == dns.TypeNS
}

// ofMessage reports whether a record is about the message, and of no name.
func ofMessage(rr dns.RR) bool {
	switch rr.Header().Rrtype {
	case dns.TypeOPT, dns.TypeTSIG, dns.TypeSIG:
		return true
	}
	return false
}

func filter(records []dns.RR, keep func(dns.RR) bool) (kept []dns.RR) {
	for _, rr := range records {
		if keep(rr) {
			kept = append(kept, rr)
		}
	}
	return kept
}

// isAbove reports whether a zone is a name or above it.
func isAbove(zone, name string) bool {
	if zone == "." {
		return true
	}
	n := len(name) - len(zone)
	return n >= 0 && equal(name[n:], zone) && (n == 0 || name[n-1] == '.')
}

func equal(a, b string) bool { return a == b || strings.EqualFold(a, b) }

func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }
