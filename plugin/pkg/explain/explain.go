// Package explain carries the extended errors of an answer (RFC 8914) past the plugins that
// drop them, as CoreDNS's cache does, to the client. It is a handler of each block that has
// one of our plugins, above all of these.
package explain

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// Handler adds what handlers below it leave.
type Handler struct{ Next plugin.Handler }

// Name implements plugin.Handler. It is no directive.
func (*Handler) Name() string { return "explain" }

// ServeDNS implements plugin.Handler.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if r.IsEdns0() == nil {
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	q := &query{Context: ctx, ResponseWriter: w}
	return plugin.NextOrFailure(h.Name(), h.Next, q, q, r)
}

// query is the context of one query, and the writer of its answer.
type query struct {
	context.Context
	dns.ResponseWriter
	left atomic.Pointer[reasons]
}

// reasons are the extended errors of an answer with a response code. One that is answered with
// another in its place, a stale one perhaps, does not have them.
type reasons struct {
	rcode int
	all   []dns.EDNS0
}

type key struct{}

// Value implements context.Context.
func (q *query) Value(k any) any {
	if k == (key{}) {
		return q
	}
	return q.Context.Value(k)
}

// Leave leaves the extended errors of an answer for the handler above that made ctx.
func Leave(ctx context.Context, m *dns.Msg) {
	opt := m.IsEdns0()
	if opt == nil || !slices.ContainsFunc(opt.Option, isError) {
		return
	}
	if q, ok := ctx.Value(key{}).(*query); ok {
		all := slices.DeleteFunc(slices.Clone(opt.Option), func(o dns.EDNS0) bool { return !isError(o) })
		q.left.Store(&reasons{m.Rcode, all})
	}
}

func isError(o dns.EDNS0) bool { return o.Option() == dns.EDNS0EDE }

// WriteMsg implements dns.ResponseWriter. A message that has extended errors keeps its own.
func (q *query) WriteMsg(m *dns.Msg) error {
	if left := q.left.Load(); left != nil && left.rcode == m.Rcode {
		m = with(m, left.all)
	}
	return q.ResponseWriter.WriteMsg(m)
}

// with returns a copy of m with options; others may hold m.
func with(m *dns.Msg, options []dns.EDNS0) *dns.Msg {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	if old := m.IsEdns0(); old != nil {
		if slices.ContainsFunc(old.Option, isError) {
			return m
		}
		opt.Hdr, opt.Option = old.Hdr, slices.Clone(old.Option)
	}
	opt.Option = append(opt.Option, options...)
	out := *m
	out.Extra = slices.DeleteFunc(slices.Clone(m.Extra), func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	out.Extra = append(out.Extra, opt)
	return &out
}
