// Package rebind implements a plugin that removes private addresses from upstream
// answers (DNS rebinding protection).
package rebind

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "rebind"

// Rebind filters the answers of the plugins below it.
type Rebind struct {
	Next plugin.Handler

	allow       []string // names that include all names below them; lower case FQDNs
	block       []netip.Prefix
	localhostOK bool

	reports logonce.Every // of removed addresses
	counter query.PerServer[prometheus.Counter]
}

// Name implements plugin.Handler.
func (b *Rebind) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (b *Rebind) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if b.allowed(r.Question[0].Name) {
		return plugin.NextOrFailure(b.Name(), b.Next, ctx, w, r)
	}
	return plugin.NextOrFailure(b.Name(), b.Next, ctx, &writer{ResponseWriter: w, rebind: b, ctx: ctx, req: r}, r)
}

// allowed reports whether a name may resolve to private addresses. It allocates only for
// names with upper case letters.
func (b *Rebind) allowed(qname string) bool {
	if len(b.allow) == 0 {
		return false
	}
	qname = strings.ToLower(qname)
	return slices.ContainsFunc(b.allow, func(a string) bool {
		return strings.HasSuffix(qname, a) && (len(qname) == len(a) || qname[len(qname)-len(a)-1] == '.')
	})
}

// writer filters the answers to one query.
type writer struct {
	dns.ResponseWriter
	rebind *Rebind
	ctx    context.Context
	req    *dns.Msg
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	return w.ResponseWriter.WriteMsg(w.rebind.clean(w.ctx, w.req, m))
}

// Write implements dns.ResponseWriter for handlers that answer in wire format. A message
// that does not unpack is an error and is not sent.
func (w *writer) Write(b []byte) (int, error) {
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return 0, err
	}
	if clean := w.rebind.clean(w.ctx, w.req, m); clean != m {
		return len(b), w.ResponseWriter.WriteMsg(clean)
	}
	return w.ResponseWriter.Write(b)
}

// clean returns the answer without private addresses: m itself where it has none, else a
// changed copy. Where no record of the queried type is left, that is NODATA.
func (b *Rebind) clean(ctx context.Context, req, m *dns.Msg) *dns.Msg {
	bad := b.first(m)
	if !bad.IsValid() {
		return m
	}
	b.count(ctx)
	b.report(req.Question[0].Name, bad)
	m = m.Copy()
	m.AuthenticatedData = false // the changed answer is not what was validated
	asked := b.strip(&m.Answer)
	b.strip(&m.Ns)
	b.strip(&m.Extra)
	if asked && !answers(m.Answer, req.Question[0].Qtype) {
		// The CNAME chain goes too: it has no end any more.
		m.Answer, m.Ns, m.Extra = nil, []dns.RR{reply.SOA(req.Question[0].Name, negativeTTL)}, options(m.Extra)
	}
	reply.AddError(req, m, dns.ExtendedErrorCodeBlocked, "private address in an upstream answer")
	return m
}

// answers reports whether there are records of the queried type.
func answers(rrs []dns.RR, qtype uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t == qtype || qtype == dns.TypeANY && t != dns.TypeCNAME && t != dns.TypeRRSIG
	})
}

func options(rrs []dns.RR) []dns.RR {
	return slices.DeleteFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
}

// negativeTTL is the TTL of NODATA in seconds: short, because the name may be allowed or
// get another address.
const negativeTTL = 60

// reportPause is the time between two log lines: a web page may query hundreds of such
// names.
const reportPause = 10 * time.Second

// report logs a removed address.
func (b *Rebind) report(qname string, addr netip.Addr) {
	if ok, more := b.reports.Allow(""); ok {
		log.Warningf("%s: removed private address %s from the upstream answer (%d more since the last line); if it is intended: allow %s", qname, addr, more, qname)
	}
}
