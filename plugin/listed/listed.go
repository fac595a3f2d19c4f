// Package listed implements the view that chooses a server block for the names on its
// lists.
package listed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/request"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/lists/index"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
	"github.com/nameroute/nameroute/plugin/pkg/chain"
	"github.com/nameroute/nameroute/plugin/pkg/limit"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/replay"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "listed"

// Listed is a dnsserver.Viewer: its block answers the names on its lists, and their
// aliases.
type Listed struct {
	Next     plugin.Handler
	lists    []string
	view     string
	source   source         // nil until the instance has started
	aliases  *aliases.Store // as source
	route    destination    // of the block; nil where that is the WAN
	selected atomic.Pointer[selected]

	limit    *limit.Limit // of new aliases; nil: none
	refusals logonce.Every

	queries *atomic.Uint64 // of this block over all reloads
	counter query.PerServer[prometheus.Counter]
}

// source is what the plugin asks of the dataplane.
type source interface {
	Config() *gateway.Config
	Index() *index.Index
	Missing(lists []string) string
}

// destination tells whether packets to an address take a route.
type destination interface {
	Takes(netip.Addr) bool
}

// selected is the block's lists within one compiled index. It is made again when the index
// is swapped, so that a query resolves no list names.
type selected struct {
	index *index.Index
	lists index.Selection
}

// Filter implements dnsserver.Viewer. It takes no lock.
func (l *Listed) Filter(_ context.Context, state *request.Request) bool {
	if l.source == nil {
		return false
	}
	q := state.Req.Question[0].Name
	s := l.selection()
	m := s.index.Recall(q)
	if m.Claimed() {
		return m.Listed(s.lists)
	}
	// Weaker than any entry or exception: a name that is written down stays where it was
	// put, whatever answer leads to it.
	if l.aliases.Len() > 0 && l.aliases.Has(canonical(q), l.lists) {
		return true
	}
	if l.reversed(q) {
		return true
	}
	return l.missing(*m, q) != "" // ServeDNS refuses it
}

// ViewName implements dnsserver.Viewer; it is the view label of CoreDNS's metrics.
func (l *Listed) ViewName() string { return l.view }

// Name implements plugin.Handler.
func (l *Listed) Name() string { return name }

// ServeDNS refuses what the block has only because a list is missing. It passes on
// everything else, and adds the aliases in its answer before that is written: the client
// may query them at once.
func (l *Listed) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	counter := l.count(ctx)
	if l.source != nil && l.source.Missing(l.lists) != "" {
		q := r.Question[0].Name
		if list := l.missing(*l.selection().index.Recall(q), q); list != "" {
			return dns.RcodeSuccess, w.WriteMsg(reply.Failure(r, dns.ExtendedErrorCodeNotReady, "list "+list+" is not there yet"))
		}
	}
	recording := replay.Of(ctx)
	if recording != nil {
		recording.Count(func(replay.Hit) {
			l.queries.Add(1)
			counter.Inc()
		})
	}
	return plugin.NextOrFailure(l.Name(), l.Next, ctx, &writer{w, l, r.Question[0].Name, r, recording}, r)
}

// missing returns the list that would have to say whether a name is the block's, and that
// is not there (`missing: fail`); "" where there is none. A name that a list claims, or
// that is an alias, has its place without it.
func (l *Listed) missing(m index.Match, q string) string {
	list := l.source.Missing(l.lists)
	if list == "" || m.Claimed() || len(l.aliases.Lists(canonical(q))) > 0 {
		return ""
	}
	return list
}

// selection returns the block's lists within the index in force.
func (l *Listed) selection() *selected {
	ix := l.source.Index()
	if s := l.selected.Load(); s != nil && s.index == ix {
		return s
	}
	known := slices.DeleteFunc(slices.Clone(l.lists), func(n string) bool { return !slices.Contains(ix.Names(), n) })
	mine, err := ix.Selection(known...)
	if err != nil {
		log.Errorf("lists %s: %v", l.view, err)
	}
	s := &selected{ix, mine}
	l.selected.Store(s)
	return s
}

// writer sees the block's answers.
type writer struct {
	dns.ResponseWriter
	listed *Listed
	name   string   // that the client queried
	req    *dns.Msg // in which rewrite may have put another name

	recording *replay.Recording
}

// WriteMsg implements dns.ResponseWriter.
func (w *writer) WriteMsg(m *dns.Msg) error {
	return w.ResponseWriter.WriteMsg(w.admit(m))
}

// WriteCleaned implements chain.Writer for *route*, which has the same query.
func (w *writer) WriteCleaned(m *dns.Msg) error {
	return w.ResponseWriter.WriteMsg(w.admitCleaned(m))
}

// Write implements dns.ResponseWriter for handlers that answer in wire format. What cannot
// be parsed may lead anywhere, so it is not passed on.
func (w *writer) Write(b []byte) (int, error) {
	return reply.WriteWire(w.ResponseWriter, b, "answer for "+w.name, w.admit)
}

// admit adds the targets in an answer to the aliases and returns what is to be written: the
// answer with what belongs to the query, or SERVFAIL where the aliases are more than fit.
// The client would query them via the WAN.
func (w *writer) admit(m *dns.Msg) *dns.Msg {
	return w.admitCleaned(chain.Clean(m, w.name, w.req.Question[0].Name))
}

func (w *writer) admitCleaned(m *dns.Msg) *dns.Msg {
	if err := w.addAliases(m); err != nil {
		w.listed.refuse(w.name, err)
		return reply.Failure(m, dns.ExtendedErrorCodeOther, err.Error())
	}
	return m
}

// errLimit is returned for a client that adds too many aliases.
var errLimit = errors.New("the client brings in more aliases than new_aliases allows")

// addAliases adds the targets in an answer to the aliases.
func (w *writer) addAliases(m *dns.Msg) error {
	l, client := w.listed, w.RemoteAddr()
	if l.source == nil || !slices.ContainsFunc(m.Answer, hasTarget) {
		return nil
	}
	asked := canonical(w.name)
	ix := l.selection().index
	from := l.listsOf(ix, asked)
	life := l.source.Config().Lifetime
	need, want := life.Of(min(longestTTL(m), life.MaxTTL()))
	var adding, known []string
	fresh := 0
	for _, rr := range m.Answer {
		t := chain.Target(rr)
		if t == "" || ix.Match(t).Claimed() {
			continue
		}
		aliasNames.WithLabelValues(l.view).Inc()
		t = canonical(t)
		known = append(known, t)
		if l.aliases.Covers(t, from, need) || slices.Contains(adding, t) {
			continue
		}
		adding = append(adding, t)
		if len(l.aliases.Lists(t)) == 0 {
			fresh++
		}
	}
	if !l.limit.Allow(client, fresh, false) {
		return fmt.Errorf("%w: %s", errLimit, limit.Client(client))
	}
	for _, t := range adding {
		if err := l.aliases.Add(t, asked, from, need, want); err != nil {
			return err
		}
	}
	w.record(known, from, longestTTL(m))
	return nil
}

// listsOf returns the lists of this block that a name is on, or counts as listed on.
func (l *Listed) listsOf(ix *index.Index, q string) []string {
	from := ix.Recall(q).Lists()
	if len(from) == 0 {
		from = l.aliases.Lists(canonical(q))
	}
	from = slices.DeleteFunc(slices.Clone(from), func(n string) bool { return !slices.Contains(l.lists, n) })
	if len(from) == 0 {
		return l.lists // the lists changed while the query was resolved
	}
	return from
}

// hasTarget reports whether a record leads to another name.
func hasTarget(rr dns.RR) bool { return chain.Target(rr) != "" }

// longestTTL returns the longest time for which a client may use some record of the answer.
func longestTTL(m *dns.Msg) time.Duration {
	var ttl uint32
	for _, rr := range m.Answer {
		ttl = max(ttl, rr.Header().Ttl)
	}
	return time.Duration(ttl) * time.Second
}

// canonical returns a name in lower case; it allocates only where there is upper case.
func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }
