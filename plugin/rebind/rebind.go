// Package rebind implements a plugin that takes addresses of the home out of what
// comes from outside.
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

	allow       []string // names with all below them, lower case, with the last dot
	block       []netip.Prefix
	localhostOK bool

	reports logonce.Every // names that were removed
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

// allowed reports whether a name may lead into the home. It allocates only for names
// with capitals.
func (b *Rebind) allowed(qname string) bool {
	if len(b.allow) == 0 {
		return false
	}
	qname = strings.ToLower(qname)
	return slices.ContainsFunc(b.allow, func(a string) bool {
		return strings.HasSuffix(qname, a) && (len(qname) == len(a) || qname[len(qname)-len(a)-1] == '.')
	})
}

// writer sees the answers.
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

// Write implements dns.ResponseWriter for handlers that answer in wire format. What
// cannot be read cannot be judged, so it does not go out.
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

// clean is an answer without addresses of the home: the answer itself where it has
// none, else a changed copy. Where nothing is left of what was asked for, it is an
// answer without data.
func (b *Rebind) clean(ctx context.Context, req, m *dns.Msg) *dns.Msg {
	bad := b.first(m)
	if !bad.IsValid() {
		return m
	}
	b.count(ctx)
	b.report(req.Question[0].Name, bad)
	m = m.Copy()
	m.AuthenticatedData = false // it is no longer what was signed
	asked := b.strip(&m.Answer)
	b.strip(&m.Ns)
	b.strip(&m.Extra)
	if asked && !answers(m.Answer, req.Question[0].Qtype) {
		// Without the CNAMEs too: they lead nowhere.
		m.Answer, m.Ns, m.Extra = nil, []dns.RR{reply.SOA(req.Question[0].Name, negativeTTL)}, options(m.Extra)
	}
	reply.AddError(req, m, dns.ExtendedErrorCodeBlocked, "an address of the home from outside")
	return m
}

// answers reports whether records of the type that was asked for are there.
func answers(rrs []dns.RR, qtype uint16) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool {
		t := rr.Header().Rrtype
		return t == qtype || qtype == dns.TypeANY && t != dns.TypeCNAME && t != dns.TypeRRSIG
	})
}

func options(rrs []dns.RR) []dns.RR {
	return slices.DeleteFunc(rrs, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
}

// negativeTTL bounds how long the absence is cached, in seconds: the name may be
// allowed, or get another address.
const negativeTTL = 60

// reportPause is the time between two log lines: a page may hold hundreds of such names.
const reportPause = 10 * time.Second

// report logs a name.
func (b *Rebind) report(qname string, addr netip.Addr) {
	if ok, more := b.reports.Allow(""); ok {
		log.Warningf("%s resolved to %s, an address of the LAN, from outside: removed (%d more since the last line); if that is right: allow %s", qname, addr, more, qname)
	}
}
