package wire

import (
	"testing"

	"github.com/miekg/dns"
)

func TestParseSubnets(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // an error
	}{
		{args: []string{"strip"}},
		{args: []string{"keep"}},
		{args: []string{"0.0.0.0/0", "::/0"}},
		{args: []string{"2001:db8::/48"}},
		{nil, subnetUsage},
		{[]string{"keep", "198.51.100.0/24"}, `"keep" is not a prefix: ` + subnetUsage},
		{[]string{"198.51.100.1"}, `"198.51.100.1" is not a prefix: ` + subnetUsage},
		{[]string{"192.168.1.0/24"}, "192.168.1.0/24 tells no resolver where it is: want a prefix of public addresses"},
		{[]string{"198.51.100.0/24", "203.0.113.0/24"}, "203.0.113.0/24 is the second prefix of its family: " + subnetUsage},
		{[]string{"::ffff:198.51.100.0/120"}, `"::ffff:198.51.100.0/120" is not a prefix: ` + subnetUsage},
	} {
		got := ""
		if _, err := ParseSubnets(c.args); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.args, got, c.want)
		}
	}
}

// FuzzSubnet: what is kept of a client's message is packed as it was, or not at all.
func FuzzSubnet(f *testing.F) {
	for _, s := range []string{"\x00\x01\x18\x00\xc6\x33\x64", "\x00\x02\x30\x00\x20\x01\x0d\xb8\x00\x01", "\x00\x01\x00\x00", "\x00\x02\x80\x00", "\x00\x00\x00\x00", "\x00\x01\x21\x00\xc6\x33\x64\x01\x80", "\x00\x01\x17\x00\xc6\x33\x65", "\x00\x02\x60\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, option []byte) {
		m := new(dns.Msg).SetQuestion("a.example.org.", dns.TypeA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: option}}
		b, err := m.Pack()
		if err != nil || len(option) > 100 {
			return
		}
		client := new(dns.Msg)
		if client.Unpack(b) != nil {
			return
		}
		q := QueryOf(client)
		q.Subnet = Subnets{Keep: true}.For(client)
		p, err := q.Pack(TCP|EDNS, Cookie{}, true)
		if err != nil || len(p.Msg())%padBlock != 0 {
			t.Fatal(len(p.Msg()), err)
		}
		sent := new(dns.Msg)
		if err := sent.Unpack(p.Msg()); err != nil {
			t.Fatalf("%x: %v", option, err)
		}
		if o := subnetOption(sent); (o != nil) != q.Subnet.IsValid() || subnetOf(o) != q.Subnet || o != nil && o.SourceScope != 0 {
			t.Fatalf("%x became %v, sent as %v", option, q.Subnet, o)
		}
		if !q.SubnetFits(sent) {
			t.Fatalf("%x: a reply that repeats it does not fit", option)
		}
	})
}

// FuzzRecords: what reads replies before they are unpacked stays within them, and an age
// makes no TTL longer.
func FuzzRecords(f *testing.F) {
	honest, err := replyTo(new(dns.Msg).SetQuestion("a.example.org.", dns.TypeA)).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(honest, uint32(7))
	f.Add(honest[:30], uint32(1<<31))
	chain := new(dns.Msg).SetQuestion("a.example.org.", dns.TypeA)
	chain.Response, chain.Compress = true, true
	for _, text := range []string{"a.example.org. 60 CNAME b.example.org.", "b.example.org. 2147483648 A 192.0.2.1", "b.example.org. 0 HTTPS 1 . ipv4hint=192.0.2.1"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		chain.Answer = append(chain.Answer, rr)
	}
	chain.SetEdns0(1232, true)
	chain.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}, &dns.EDNS0_EDE{InfoCode: 22}}
	full, err := chain.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full, uint32(61))
	f.Fuzz(func(t *testing.T, msg []byte, age uint32) {
		before := new(dns.Msg)
		unpacks := before.Unpack(msg) == nil
		if len(msg) >= HeaderLen {
			CookieIn(msg, HeaderLen)
			Ignored{}.In(msg, HeaderLen)
		}
		Age(msg, age)
		after := new(dns.Msg)
		if !unpacks || after.Unpack(msg) != nil {
			return
		}
		for i := range min(len(before.Answer), len(after.Answer)) {
			if b, a := before.Answer[i].Header(), after.Answer[i].Header(); b.Rrtype != dns.TypeOPT && a.Ttl > b.Ttl {
				t.Fatalf("%v became %v", before, after)
			}
		}
	})
}
