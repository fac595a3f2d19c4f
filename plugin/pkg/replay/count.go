package replay

import (
	"context"
	"errors"
	"slices"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/metrics"
	"github.com/coredns/coredns/plugin/metrics/vars"
	"github.com/coredns/coredns/plugin/pkg/rcode"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// The counters of CoreDNS's cache, which it exports by the registry only.
var (
	cacheRequests = existing("requests_total", "The count of cache requests.", "server", "zones", "view")
	cacheHits     = existing("hits_total", "The count of cache hits.", "server", "type", "zones", "view")
)

// existing returns the cache's counter of a name. Where there is none like it, it is one that
// nobody sees: a test fails then.
func existing(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: plugin.Namespace, Subsystem: "cache", Name: name, Help: help}, labels)
	var found prometheus.AlreadyRegisteredError
	if err := prometheus.Register(v); errors.As(err, &found) {
		if old, ok := found.ExistingCollector.(*prometheus.CounterVec); ok {
			return old
		}
	}
	return v
}

// replayed counts what the other counters have among their answers.
var replayed = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: plugin.Namespace, Subsystem: "nameroute", Name: "replayed_answers_total",
	Help: "Counter of answers over UDP that were given again as they were sent before, without unpacking their queries.",
}, []string{"server"})

func init() { prometheus.MustRegister(replayed) }

// count has a replay be counted as an answer of the cache: by us, the cache and *prometheus*.
func (b *Block) count(ctx context.Context, r *Recording, m *dns.Msg) {
	server, view := metrics.WithServer(ctx), metrics.WithView(ctx)
	kind := "success"
	if denies(m) {
		kind = "denial"
	}
	again, requests := replayed.WithLabelValues(server), cacheRequests.WithLabelValues(server, b.zones, view)
	hits := cacheHits.WithLabelValues(server, kind, b.zones, view)
	r.Count(func(Hit) {
		again.Inc()
		requests.Inc()
		hits.Inc()
	})
	if b.metrics != nil {
		b.report(r, server, view, m)
	}
}

// report does what vars.Report does for the same answer, without looking labels up each time.
func (b *Block) report(r *Recording, server, view string, m *dns.Msg) {
	q := r.packet.parsed
	zone := plugin.Zones(b.metrics.ZoneNames()).Matches(m.Question[0].Name)
	if zone == "" {
		zone = "."
	}
	qtype := dns.Type(q.qtype).String()
	if !slices.Contains(counted, q.qtype) {
		qtype = "other"
	}
	asked, answered := r.sizes()
	v4, v6 := vars.RequestCount.WithLabelValues(server, zone, view, "udp", "1", qtype), vars.RequestCount.WithLabelValues(server, zone, view, "udp", "2", qtype)
	took := vars.RequestDuration.WithLabelValues(server, zone, view)
	querySize, answerSize := vars.RequestSize.WithLabelValues(server, zone, view, "udp"), vars.ResponseSize.WithLabelValues(server, zone, view, "udp")
	code := vars.ResponseRcode.WithLabelValues(server, zone, view, rcode.ToString(m.Rcode), b.answerer)
	var do prometheus.Counter
	if q.flags&flagDO != 0 {
		do = vars.RequestDo.WithLabelValues(server, zone, view)
	}
	r.Count(func(h Hit) {
		if do != nil {
			do.Inc()
		}
		if h.V6 {
			v6.Inc()
		} else {
			v4.Inc()
		}
		took.Observe(h.Took.Seconds())
		answerSize.Observe(float64(answered))
		querySize.Observe(float64(asked))
		code.Inc()
	})
}

// counted are the types of ours that CoreDNS counts by name.
var counted = []uint16{
	dns.TypeAAAA, dns.TypeA, dns.TypeCNAME, dns.TypeDNSKEY, dns.TypeMX, dns.TypeNS, dns.TypePTR, dns.TypeSOA, dns.TypeSRV,
	dns.TypeTXT, dns.TypeHTTPS, dns.TypeSVCB,
}

// denies reports whether an answer is among the cache's denials.
func denies(m *dns.Msg) bool {
	if m.Rcode == dns.RcodeNameError {
		return true
	}
	soa := slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA })
	return soa && !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == m.Question[0].Qtype })
}
