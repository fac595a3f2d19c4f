// Package rebind implements a plugin that takes addresses of the home out of what
// comes from outside.
package rebind

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/plugin/pkg/query"
)

const name = "rebind"

// Rebind filters the answers of the plugins below it.
type Rebind struct {
	Next plugin.Handler

	allow       []string // names with all below them, lower case, with the last dot
	block       []netip.Prefix
	localhostOK bool

	said    atomic.Int64 // when a name was last logged, in nanoseconds since 1970
	skipped atomic.Int64 // names that were not logged since
	counter query.PerServer[prometheus.Counter]
}

// Name implements plugin.Handler.
func (b *Rebind) Name() string { return name }

// writers are used again, so that a clean answer costs no allocation. The plugins
// that may stand below write before they return; one that wrote later would get an
// error.
var writers = sync.Pool{New: func() any { return new(writer) }}

// ServeDNS implements plugin.Handler.
func (b *Rebind) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if b.allowed(r.Question[0].Name) {
		return plugin.NextOrFailure(b.Name(), b.Next, ctx, w, r)
	}
	f := writers.Get().(*writer)
	f.ResponseWriter, f.rebind, f.ctx, f.req = w, b, ctx, r
	code, err := plugin.NextOrFailure(b.Name(), b.Next, ctx, f, r)
	*f = writer{}
	writers.Put(f)
	return code, err
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

var errEnded = errors.New("an answer after the query had ended")

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	if w.rebind == nil {
		return errEnded
	}
	return w.ResponseWriter.WriteMsg(w.rebind.clean(w.ctx, w.req, m))
}

// Write implements dns.ResponseWriter for handlers that answer in wire format. What
// cannot be read cannot be judged, so it does not go out.
func (w *writer) Write(b []byte) (int, error) {
	if w.rebind == nil {
		return 0, errEnded
	}
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
	b.say(req.Question[0].Name, bad)
	m = m.Copy()
	m.AuthenticatedData = false // it is no longer what was signed
	asked := b.strip(&m.Answer)
	b.strip(&m.Ns)
	b.strip(&m.Extra)
	if asked && !answers(m.Answer, req.Question[0].Qtype) {
		// Without the CNAMEs too: they lead nowhere.
		m.Answer, m.Ns, m.Extra = nil, []dns.RR{soa(req.Question[0].Name)}, options(m.Extra)
	}
	explain(req, m)
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

// soa lets the absence be cached (RFC 2308 section 5).
func soa(owner string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  "localhost.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

// explain tells a client that has EDNS why (RFC 8914 section 4.16).
func explain(req, m *dns.Msg) {
	asked := req.IsEdns0()
	if asked == nil {
		return
	}
	o := m.IsEdns0()
	if o == nil {
		m.SetEdns0(asked.UDPSize(), asked.Do())
		o = m.IsEdns0()
	}
	o.Option = append(o.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeBlocked, ExtraText: "an address of the home from outside"})
}

// sayAgain is the pause between two lines: a page may hold hundreds of such names.
const sayAgain = 10 * time.Second

// say logs a name.
func (b *Rebind) say(qname string, addr netip.Addr) {
	now := time.Now().UnixNano()
	old := b.said.Load()
	if now-old < int64(sayAgain) || !b.said.CompareAndSwap(old, now) {
		b.skipped.Add(1)
		return
	}
	log.Warningf("%s led into the home, to %s: taken out (%d more since the last line); if that is right: allow %s", qname, addr, b.skipped.Swap(0), qname)
}
