// Package listed implements the view that chooses a server block for the names on
// its lists.
package listed

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/plugin/dnshalf"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "listed"

// Listed is a dnsserver.Viewer: its block answers the names on its lists, and the
// names that those led to.
type Listed struct {
	Next  plugin.Handler
	lists []string
	view  string
	half  func() *dnshalf.Half
	bound atomic.Pointer[bound]

	counter query.PerServer[prometheus.Counter]
}

// bound is the block's lists within one compiled index. It is made anew when the
// index is swapped, so that a query resolves no list names.
type bound struct {
	index *lists.Index
	mine  lists.Selection
}

// Filter implements dnsserver.Viewer. It takes no lock.
func (l *Listed) Filter(_ context.Context, state *request.Request) bool {
	h := l.half()
	if h == nil {
		return false
	}
	q := state.Req.Question[0].Name
	b := l.bind(h.Index())
	m := b.index.Match(q)
	if m.Claimed() {
		return m.Listed(b.mine)
	}
	// Weaker than any entry or exception: a name that somebody has written down
	// stays where it was put, whatever answer led to it.
	if h.Names().Len() > 0 && h.Names().Has(canonical(q), l.lists) {
		return true
	}
	return l.missing(h, m, q) != "" // ServeDNS refuses it
}

// ViewName implements dnsserver.Viewer; it is the view label of CoreDNS's metrics.
func (l *Listed) ViewName() string { return l.view }

// Name implements plugin.Handler.
func (l *Listed) Name() string { return name }

// ServeDNS refuses what the block has only because a list is missing. Everything else
// it passes on and notes which names its answer leads to, before
// the answer is written: the client may ask for them at once.
func (l *Listed) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	l.count(ctx)
	if h := l.half(); h != nil && h.Missing(l.lists) != "" {
		q := r.Question[0].Name
		if list := l.missing(h, l.bind(h.Index()).index.Match(q), q); list != "" {
			return dns.RcodeSuccess, w.WriteMsg(reply.Failure(r, dns.ExtendedErrorCodeNotReady, "list "+list+" is not there yet"))
		}
	}
	return plugin.NextOrFailure(l.Name(), l.Next, ctx, &writer{ResponseWriter: w, listed: l}, r)
}

func (l *Listed) bind(ix *lists.Index) *bound {
	if b := l.bound.Load(); b != nil && b.index == ix {
		return b
	}
	known := slices.DeleteFunc(slices.Clone(l.lists), func(n string) bool { return !slices.Contains(ix.Names(), n) })
	mine, err := ix.Selection(known...)
	if err != nil {
		log.Errorf("lists %s: %v", l.view, err)
	}
	b := &bound{ix, mine}
	l.bound.Store(b)
	return b
}

// writer sees the block's answers.
type writer struct {
	dns.ResponseWriter
	listed *Listed
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	w.listed.remember(m)
	return w.ResponseWriter.WriteMsg(m)
}

// Write implements dns.ResponseWriter for handlers that answer in wire format.
func (w *writer) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if m.Unpack(b) == nil {
		w.listed.remember(m)
	}
	return w.ResponseWriter.Write(b)
}

// remember notes the targets in an answer.
func (l *Listed) remember(m *dns.Msg) {
	h := l.half()
	if h == nil || len(m.Question) == 0 || !leads(m) {
		return
	}
	ix := l.bind(h.Index()).index
	from := l.reasons(h, ix, m.Question[0].Name)
	life := h.Config().Lifetime
	need, want := life.Of(min(longest(m), life.MaxTTL()))
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, rr := range section {
			t := target(rr)
			if t == "" || ix.Match(t).Claimed() {
				continue
			}
			h.Names().Add(canonical(t), from, need, want)
			ledTo.WithLabelValues(l.view).Inc()
		}
	}
}

// reasons are the lists of this block by which a name came here.
func (l *Listed) reasons(h *dnshalf.Half, ix *lists.Index, q string) []string {
	from := ix.Which(ix.Match(q))
	if len(from) == 0 {
		from = h.Names().Lists(canonical(q))
	}
	from = slices.DeleteFunc(slices.Clone(from), func(n string) bool { return !slices.Contains(l.lists, n) })
	if len(from) == 0 {
		return l.lists // the lists changed while the query was on its way
	}
	return from
}

// leads reports whether an answer holds a record that leads to another name.
func leads(m *dns.Msg) bool {
	has := func(rr dns.RR) bool { return target(rr) != "" }
	return slices.ContainsFunc(m.Answer, has) || slices.ContainsFunc(m.Extra, has)
}

// target is the name that a record leads a client to, or "". A DNAME comes with
// the CNAME that it makes (RFC 6672 section 3.1); the target "." of an HTTPS record
// is its owner (RFC 9460 section 2.5.2).
func target(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.CNAME:
		return rr.Target
	case *dns.HTTPS:
		return svcbTarget(&rr.SVCB)
	case *dns.SVCB:
		return svcbTarget(rr)
	}
	return ""
}

func svcbTarget(rr *dns.SVCB) string {
	if rr.Target == "." {
		return ""
	}
	return rr.Target
}

// longest is the longest time for which a client may use some record of the answer.
func longest(m *dns.Msg) time.Duration {
	var ttl uint32
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				ttl = max(ttl, h.Ttl)
			}
		}
	}
	return time.Duration(ttl) * time.Second
}

// canonical is a name in lower case; it allocates only where there is upper case.
func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }
