package stream

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// queryWith returns a packed query with options.
func queryWith(options ...dns.EDNS0) *dns.Msg {
	m := new(dns.Msg).SetQuestion("quick.", dns.TypeTXT)
	m.SetEdns0(1232, true)
	m.IsEdns0().Option = options
	return m
}

func optionsOf(m *dns.Msg) map[uint16]dns.EDNS0 {
	all := map[uint16]dns.EDNS0{}
	for _, o := range m.IsEdns0().Option {
		all[o.Option()] = o
	}
	return all
}

// RFC 7828: who asks for it is told the idle timeout. RFC 7830 and 8467: an answer over TLS
// to a padded query is padded to blocks.
func TestOptions(t *testing.T) {
	server, client := certificate(t)
	plain, encrypted := usual(), usual()
	encrypted.TLS = server
	tcp, dot := newHost(t, plain, NewBounds(nil)), newHost(t, encrypted, NewBounds(nil))
	dot.client = client
	padding, keepalive, cookie := &dns.EDNS0_PADDING{Padding: make([]byte, 77)}, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}
	for _, c := range []struct {
		host   *host
		query  *dns.Msg
		padded bool
		told   bool
	}{
		{dot, queryWith(padding), true, false},
		{dot, queryWith(keepalive, cookie, padding), true, true},
		{dot, queryWith(cookie), false, false},
		{tcp, queryWith(keepalive), false, true},
		{tcp, queryWith(keepalive, padding), false, true},
	} {
		conn := c.host.dial()
		if err := conn.WriteMsg(c.query); err != nil {
			t.Fatal(err)
		}
		var length uint16
		if err := binary.Read(conn.Conn, binary.BigEndian, &length); err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, length)
		if _, err := io.ReadFull(conn.Conn, raw); err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(raw); err != nil {
			t.Fatal(err)
		}
		all := optionsOf(m)
		_, hasPadding := all[dns.EDNS0PADDING]
		if c.padded && len(raw)%468 != 0 || c.padded != hasPadding {
			t.Errorf("%v: %d bytes, %v", c.query.IsEdns0(), len(raw), m.IsEdns0())
		}
		k, ok := all[dns.EDNS0TCPKEEPALIVE].(*dns.EDNS0_TCP_KEEPALIVE)
		if ok != c.told || ok && k.Timeout != uint16(patience/(100*time.Millisecond)) {
			t.Errorf("%v: %v", c.query.IsEdns0(), m.IsEdns0())
		}
		if _, ok := all[dns.EDNS0COOKIE]; ok != (optionsOf(c.query)[dns.EDNS0COOKIE] != nil) {
			t.Errorf("other options are lost: %v", m.IsEdns0())
		}
		if len(m.Answer) != 1 || !m.IsEdns0().Do() {
			t.Errorf("the rest is lost: %v", m)
		}
	}
}

func FuzzOptions(f *testing.F) {
	for _, m := range []*dns.Msg{queryWith(), queryWith(&dns.EDNS0_PADDING{Padding: make([]byte, 7)}, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE})} {
		raw, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < headerSize || len(raw) > maxMessage {
			return
		}
		wantsOf(raw, true)
		out, changed := wants{true, true}.give(raw, time.Second)
		if changed && !recordsOf(out).ok || !changed && string(out) != string(raw) {
			t.Errorf("%x became %x, %v", raw, out, changed)
		}
	})
}
