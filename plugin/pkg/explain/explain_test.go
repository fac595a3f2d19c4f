package explain

import (
	"context"
	"testing"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/cache"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
)

// An extended error gets past the cache, which drops it, and only to a client with EDNS, with
// the answer that it is of.
func TestLeave(t *testing.T) {
	for _, c := range []struct {
		name        string
		edns        bool
		rcode, sent int
		want        int
	}{
		{"bogus", true, dns.RcodeServerFailure, dns.RcodeServerFailure, 1},
		{"blocked", true, dns.RcodeNameError, dns.RcodeNameError, 1},
		{"without EDNS", false, dns.RcodeServerFailure, dns.RcodeServerFailure, 0},
		{"another answer", true, dns.RcodeServerFailure, dns.RcodeSuccess, 0},
	} {
		below := plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
			m := new(dns.Msg).SetRcode(r, c.rcode)
			m.SetEdns0(1232, true)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus, ExtraText: "signature"}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE}}
			Leave(ctx, m)
			m.Rcode = c.sent
			return dns.RcodeSuccess, w.WriteMsg(m)
		})
		k := cache.New()
		k.Next = below
		h := &Handler{Next: k}
		r := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
		if c.edns {
			r.SetEdns0(1232, true)
		}
		rec := dnstest.NewRecorder(&test.ResponseWriter{})
		if _, err := h.ServeDNS(context.Background(), rec, r); err != nil {
			t.Fatal(err)
		}
		n := 0
		if opt := rec.Msg.IsEdns0(); opt != nil {
			for _, o := range opt.Option {
				if e, ok := o.(*dns.EDNS0_EDE); !ok || e.InfoCode != dns.ExtendedErrorCodeDNSBogus || e.ExtraText != "signature" {
					t.Errorf("%s: option %v", c.name, o)
				}
				n++
			}
		}
		if n != c.want || rec.Msg.Rcode != c.sent {
			t.Errorf("%s: %d extended errors, want %d: %v", c.name, n, c.want, rec.Msg)
		}
	}
}

// What a message has already is kept, and the message itself stays as it is.
func TestWith(t *testing.T) {
	ede := []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus}}
	m := new(dns.Msg)
	m.SetEdns0(4096, true)
	out := with(m, ede)
	if opt := out.IsEdns0(); len(opt.Option) != 1 || opt.UDPSize() != 4096 || !opt.Do() || len(m.IsEdns0().Option) != 0 {
		t.Errorf("%v of %v", out, m)
	}
	if again := with(out, ede); again != out {
		t.Errorf("another error is added: %v", again)
	}
}
