// Package datagram keeps answers over UDP small, and tells a client to query again over TCP
// only where it must. It is the first handler of each block that has one of our plugins.
package datagram

import (
	"context"
	"net"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

// MaxSize is the largest answer over UDP, whatever size the client takes: larger ones are
// fragments somewhere, which networks lose, and amplify forged queries (RFC 9715 section
// 3.1 has 1400 at most; DNS flag day 2020). The plugin bufsize, where a block has it, says
// another one.
const MaxSize = replay.MaxSize

// Handler changes how the handlers after it answer over UDP.
type Handler struct {
	Next    plugin.Handler
	Bufsize bool          // the block has the plugin bufsize; set before the first query
	Replay  *replay.Block // of the block, likewise
}

// Name implements plugin.Handler. It is no directive.
func (*Handler) Name() string { return "datagram" }

// ServeDNS implements plugin.Handler.
func (h *Handler) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if _, ok := w.RemoteAddr().(*net.UDPAddr); !ok || !strings.HasPrefix(metrics.WithServer(ctx), "dns://") { // QUIC is no datagram here
		return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
	}
	if opt := r.IsEdns0(); opt != nil && opt.UDPSize() > MaxSize && !h.Bufsize {
		opt.SetUDPSize(MaxSize) // CoreDNS's own writer truncates to it
	}
	ctx, recording := h.Replay.Record(ctx, w, r)
	dw := &writer{ResponseWriter: w, req: r, recording: recording}
	rcode, err := plugin.NextOrFailure(h.Name(), h.Next, ctx, dw, r)
	if recording != nil && dw.written != nil && rcode == dns.RcodeSuccess && err == nil {
		h.Replay.Commit(ctx, recording, dw.written)
	}
	return rcode, err
}

type writer struct {
	dns.ResponseWriter
	req       *dns.Msg
	recording *replay.Recording
	written   *dns.Msg
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	size := (&request.Request{Req: w.req, W: w.ResponseWriter}).Size()
	out := fit(m, w.req, size)
	if out != m || w.written != nil {
		w.recording.Refuse()
	}
	w.written = m
	return w.ResponseWriter.WriteMsg(out)
}

// Write implements dns.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	w.recording.Refuse()
	return w.ResponseWriter.Write(b)
}

// fit returns an answer without what is not needed, where it would otherwise not fit: first
// the additional section, then the authority section of a positive answer (RFC 2181 section
// 9: such records are left out, and TC is not set for them). A client that validates needs
// the proofs there. What still does not fit is left to be truncated, with TC.
func fit(m, req *dns.Msg, size int) *dns.Msg {
	out := *m
	opt := req.IsEdns0()
	if opt != nil && m.IsEdns0() == nil {
		size -= dns.Len(opt) // CoreDNS's own writer adds it
	}
	fits := func(compress bool) bool {
		out.Compress = compress
		return out.Len() <= size
	}
	if fits(false) || fits(true) {
		return m
	}
	out.Extra = keep(m.Extra, func(t uint16) bool { return t == dns.TypeOPT || t == dns.TypeTSIG || t == dns.TypeSIG })
	if !fits(true) && len(m.Answer) > 0 && m.Rcode == dns.RcodeSuccess {
		validates := opt != nil && opt.Do()
		out.Ns = keep(m.Ns, func(t uint16) bool { return validates && (t == dns.TypeNSEC || t == dns.TypeNSEC3) })
	}
	return &out
}

// keep returns the records of some types, with their signatures.
func keep(records []dns.RR, of func(rrtype uint16) bool) (kept []dns.RR) {
	for _, rr := range records {
		t := rr.Header().Rrtype
		if sig, ok := rr.(*dns.RRSIG); ok {
			t = sig.TypeCovered
		}
		if of(t) {
			kept = append(kept, rr)
		}
	}
	return kept
}
