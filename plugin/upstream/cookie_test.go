package upstream

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

func cookieOf(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	if m.IsEdns0() == nil {
		m.SetEdns0(1232, false)
	}
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
	return m
}

// baker gives and wants cookies; its secret is the letter.
type baker struct {
	letter   atomic.Pointer[string]
	strict   atomic.Bool
	addr     string
	forge    atomic.Pointer[dns.HandlerFunc] // before the reply
	udp, tcp atomic.Int64
}

func bake(t *testing.T) *baker {
	b := &baker{}
	b.change("aa")
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			b.tcp.Add(1)
			w.WriteMsg(replyTo(r, "192.0.2.1"))
			return
		}
		b.udp.Add(1)
		if forge := b.forge.Load(); forge != nil {
			(*forge)(w, r)
		}
		got := cookieOf(r)
		if got == "" {
			w.WriteMsg(replyTo(r, "192.0.2.1"))
			return
		}
		server := strings.Repeat(*b.letter.Load(), 8)
		if b.strict.Load() && got[16:] != server {
			m := new(dns.Msg).SetReply(r)
			m.SetEdns0(1232, false)
			m.Rcode = dns.RcodeBadCookie
			w.WriteMsg(withCookie(m, got[:16]+server))
			return
		}
		w.WriteMsg(withCookie(replyTo(r, "192.0.2.1"), got[:16]+server))
	})
	b.addr = s.String()
	return b
}

func (b *baker) change(letter string) { b.letter.Store(&letter) }

func (b *baker) before(forge dns.HandlerFunc) { b.forge.Store(&forge) }

func (b *baker) count() string {
	return fmt.Sprintf("%d by udp, %d by tcp", b.udp.Swap(0), b.tcp.Swap(0))
}

func TestCookies(t *testing.T) {
	b := bake(t)
	l := forwarder(t, nil, b.addr)
	r := l.targets().resolvers[0]
	l.mustAsk(t, "a.example.org.", "192.0.2.1") // EDNS works
	l.mustAsk(t, "b.example.org.", "192.0.2.1") // and so do cookies
	if c := r.cookies.Of(r.cookies.Local()); hex.EncodeToString(c.Server) != strings.Repeat("aa", 8) {
		t.Fatalf("server cookie %x", c.Server)
	}
	b.count()
	b.strict.Store(true)
	l.mustAsk(t, "c.example.org.", "192.0.2.1")
	if got := b.count(); got != "1 by udp, 0 by tcp" {
		t.Errorf("with the server's cookie: %s", got)
	}
	b.change("bb")
	l.mustAsk(t, "d.example.org.", "192.0.2.1")
	if got := b.count(); got != "2 by udp, 0 by tcp" {
		t.Errorf("after BADCOOKIE: %s", got)
	}
	l.mustAsk(t, "e.example.org.", "192.0.2.1")
	if got := b.count(); got != "1 by udp, 0 by tcp" {
		t.Errorf("with the new cookie: %s", got)
	}
	// One that is never content is asked over TCP (RFC 7873, section 5.3).
	b.before(func(dns.ResponseWriter, *dns.Msg) { b.change(fmt.Sprintf("%02x", b.udp.Load())) })
	l.mustAsk(t, "f.example.org.", "192.0.2.1")
	if got := b.count(); got != "2 by udp, 1 by tcp" {
		t.Errorf("BADCOOKIE twice: %s", got)
	}
	if r.capabilities().Seen&wire.Cookies == 0 {
		t.Error("cookies are not known to work")
	}
	// Another route has another cookie, and so has the same via the WAN.
	other := newResolver(key{Address: r.Address, mark: wanMark}, "wan", &l.opts, at(r.Addr))
	defer other.close()
	if other.cookies.Of(r.cookies.Local()).Client == r.cookies.Of(r.cookies.Local()).Client {
		t.Error("two routes share a cookie, which tells that they are one box")
	}
}

// A reply with another client's cookie is dropped, one without any is not trusted, though id,
// port and case are right.
func TestForgedCookies(t *testing.T) {
	for _, tc := range []struct {
		reason wire.Verdict
		forge  func(r *dns.Msg) *dns.Msg
		want   string
	}{
		{wire.WrongCookie, func(r *dns.Msg) *dns.Msg { return withCookie(replyTo(r, "203.0.113.66"), strings.Repeat("ee", 16)) }, "1 by udp, 0 by tcp"},
		{wire.WrongCookie, func(r *dns.Msg) *dns.Msg { return withCookie(replyTo(r, "203.0.113.66"), "eeee") }, "1 by udp, 0 by tcp"},
		{wire.WithoutCookie, func(r *dns.Msg) *dns.Msg { return replyTo(r, "203.0.113.66") }, ""},
		{wire.WithoutCookie, func(r *dns.Msg) *dns.Msg { // it would have us do without EDNS
			m := new(dns.Msg).SetRcode(r, dns.RcodeFormatError)
			m.Question = nil
			return m
		}, ""},
	} {
		b := bake(t)
		l := forwarder(t, nil, b.addr)
		l.mustAsk(t, "a.example.org.", "192.0.2.1")
		l.mustAsk(t, "b.example.org.", "192.0.2.1")
		b.count()
		b.before(func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(tc.forge(r)) })
		l.mustAsk(t, "c.example.org.", "192.0.2.1")
		if got := b.count(); tc.want != "" && got != tc.want {
			t.Errorf("%s: %s, want %s", tc.reason, got, tc.want)
		}
		if n := valueOf(t, mismatchCount.WithLabelValues("vpn", b.addr, string(tc.reason))); n != 1 {
			t.Errorf("%s: counted %v", tc.reason, n)
		}
	}
}

// A resolver that stops giving cookies, and has no TCP, is believed once TCP has failed.
func TestCookiesEnd(t *testing.T) {
	t.Parallel()
	for _, tcp := range []bool{true, false} {
		t.Run(fmt.Sprintf("TCP %v", tcp), func(t *testing.T) {
			t.Parallel()
			var over atomic.Bool
			o := &oddResolver{udp: func(r *dns.Msg) *dns.Msg {
				if c := cookieOf(r); c != "" && !over.Load() {
					return withCookie(plain(r), c[:16]+strings.Repeat("aa", 8))
				}
				return plain(r)
			}}
			if tcp {
				o.tcp = plain
			}
			o.start(t, "127.0.0.1:0")
			l := forwarder(t, func(o *options) { o.timeout, o.budget, o.patience = 500*time.Millisecond, 5*time.Second, 0 }, o.addr)
			for i := range 4 {
				m, _, err := l.client(context.Background(), ask(fmt.Sprintf("n%d.example.org.", i), dns.TypeA))
				if addrOf(m) != "192.0.2.1" {
					t.Errorf("query %d: %v, %v", i, m, err)
				}
				over.Store(i >= 1)
			}
		})
	}
}
