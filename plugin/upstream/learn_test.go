package upstream

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// oddResolver is one that treats datagrams and streams as a test says; nil is silence.
type oddResolver struct {
	udp, tcp           func(r *dns.Msg) *dns.Msg
	addr               string
	datagrams, streams atomic.Int64
}

func (o *oddResolver) start(t *testing.T, addr string) *oddResolver {
	t.Helper()
	s := serveOn(t, addr, func(w dns.ResponseWriter, r *dns.Msg) {
		answer, n := o.udp, &o.datagrams
		if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
			answer, n = o.tcp, &o.streams
		}
		n.Add(1)
		if answer == nil {
			return
		}
		if m := answer(r); m != nil {
			w.WriteMsg(m)
		}
	})
	o.addr = s.String()
	return o
}

func plain(r *dns.Msg) *dns.Msg { return replyTo(r, "192.0.2.1") }

func onlyWithout(feature func(*dns.Msg) bool, otherwise func(*dns.Msg) *dns.Msg) func(*dns.Msg) *dns.Msg {
	return func(r *dns.Msg) *dns.Msg {
		if feature(r) {
			if otherwise == nil {
				return nil
			}
			return otherwise(r)
		}
		return plain(r)
	}
}

func hasEDNS(r *dns.Msg) bool { return r.IsEdns0() != nil }

func hasCookie(r *dns.Msg) bool {
	opt := r.IsEdns0()
	if opt == nil {
		return false
	}
	for _, o := range opt.Option {
		if o.Option() == dns.EDNS0COOKIE {
			return true
		}
	}
	return false
}

// rcode answers with an error, with or without OPT record and question section.
func rcode(code int, opt, section bool) func(*dns.Msg) *dns.Msg {
	return func(r *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetRcode(r, code)
		if opt {
			m.SetEdns0(512, false)
		}
		if !section {
			m.Question = nil
		}
		return m
	}
}

// scrambled changes the case of every letter.
func scrambled(r *dns.Msg) *dns.Msg {
	m := plain(r)
	name := []byte(m.Question[0].Name)
	for i, c := range name {
		if 'a' <= c|0x20 && c|0x20 <= 'z' {
			name[i] ^= 0x20
		}
	}
	m.Question[0].Name = string(name)
	return m
}

func lowered(r *dns.Msg) *dns.Msg {
	m := plain(r)
	m.Question[0].Name = strings.ToLower(m.Question[0].Name)
	return m
}

// What resolvers lack is found out with the first query, which is answered, and costs the
// following ones nothing: each is one packet. dnsmasq answers with all of these, since it
// passes on what its client asked.
func TestLearnsWhatAResolverLacks(t *testing.T) {
	for _, tc := range []struct {
		what     string
		udp, tcp func(*dns.Msg) *dns.Msg
		lacks    wire.Features
		streams  bool // the queries that follow are sent over TCP
	}{
		{"drops EDNS", onlyWithout(hasEDNS, nil), nil, wire.EDNS, false},
		{"drops EDNS, TCP too", onlyWithout(hasEDNS, nil), onlyWithout(hasEDNS, nil), wire.EDNS, false},
		{"FORMERR for EDNS", onlyWithout(hasEDNS, rcode(dns.RcodeFormatError, false, true)), plain, wire.EDNS, false},
		{"FORMERR with OPT", onlyWithout(hasEDNS, rcode(dns.RcodeFormatError, true, true)), plain, wire.EDNS, false},
		{"FORMERR with OPT and no question", onlyWithout(hasEDNS, rcode(dns.RcodeFormatError, true, false)), plain, wire.EDNS, false},
		{"FORMERR, only a header", onlyWithout(hasEDNS, rcode(dns.RcodeFormatError, false, false)), plain, wire.EDNS, false},
		{"NOTIMP for EDNS", onlyWithout(hasEDNS, rcode(dns.RcodeNotImplemented, false, true)), plain, wire.EDNS, false},
		{"BADVERS for EDNS", onlyWithout(hasEDNS, rcode(dns.RcodeBadVers, true, true)), plain, wire.EDNS, false},
		{"drops cookies", onlyWithout(hasCookie, nil), plain, wire.Cookies, false},
		{"FORMERR for cookies", onlyWithout(hasCookie, rcode(dns.RcodeFormatError, true, true)), plain, wire.Cookies, false},
		{"folds the case", lowered, plain, wire.Case, false},
		{"changes the case", scrambled, plain, wire.Case, false},
		{"changes the case, no TCP", scrambled, nil, wire.Case, false},
		{"changes the case and drops EDNS", func(r *dns.Msg) *dns.Msg {
			if hasEDNS(r) {
				return nil
			}
			return scrambled(r)
		}, nil, wire.EDNS | wire.Case, false},
		{"no UDP", nil, plain, wire.UDP, true},
	} {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			t.Run(tc.what+" "+addr, func(t *testing.T) {
				t.Parallel()
				o := (&oddResolver{udp: tc.udp, tcp: tc.tcp}).start(t, addr)
				l := forwarder(t, func(o *options) {
					o.timeout, o.budget, o.maxFails, o.patience = 900*time.Millisecond, 20*time.Second, 0, 0
				}, o.addr)
				r := l.targets().resolvers[0]
				for i := range 3 { // cookies are found out with the second one
					l.mustAsk(t, fmt.Sprintf("Name%d.Example.ORG.", i), "192.0.2.1")
				}
				within(t, 30*time.Second, "it is remembered", func() bool { return r.capabilities().Lacks&tc.lacks == tc.lacks })
				within(t, 30*time.Second, "nothing is in flight", func() bool { return r.health.late.Load() == 0 })
				// A machine that is busy loses packets now and then, but not always.
				within(t, 60*time.Second, "a query is one packet", func() bool {
					u, s := o.datagrams.Load(), o.streams.Load()
					m := l.mustAsk(t, "Last.Example.ORG.", "192.0.2.1")
					if m.Question[0].Name != "Last.Example.ORG." || m.Answer[0].Header().Name != "Last.Example.ORG." {
						t.Fatalf("the client's case is lost: %v", m)
					}
					u, s = o.datagrams.Load()-u, o.streams.Load()-s
					return tc.streams && u == 0 && s == 1 || !tc.streams && u == 1 && s == 0
				})
				if lacks := r.capabilities().Lacks &^ tc.lacks & (wire.Case | wire.EDNS | wire.UDP); lacks != 0 {
					t.Errorf("also believed to lack: %s", lacks)
				}
			})
		}
	}
}
