package address

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
)

// lp writes strings as stamps do, each behind its length.
func lp(fields ...string) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteByte(byte(len(f)))
		b.WriteString(f)
	}
	return b.String()
}

func stampOf(kind byte, rest string) string {
	return "sdns://" + base64.RawURLEncoding.EncodeToString([]byte(string([]byte{kind})+strings.Repeat("\x00", 8)+rest))
}

var hash = strings.Repeat("h", 32)

func TestParse(t *testing.T) {
	ap := netip.MustParseAddrPort
	port := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, n) }
	for _, tc := range []struct {
		text string
		want Address
		name string // String of it
	}{
		{"192.0.2.53", Address{Transport: UDP, Addr: ap("192.0.2.53:53")}, "192.0.2.53:53"},
		{"tls://dns.Example.org", Address{Transport: TLS, Addr: port(853), Host: "dns.example.org", Name: "dns.Example.org"}, "tls://dns.example.org:853"},
		{"quic://dns.example.org:8853", Address{Transport: QUIC, Addr: port(8853), Host: "dns.example.org", Name: "dns.example.org"}, "quic://dns.example.org:8853"},
		{"https://dns.example.org./", Address{Transport: HTTPS, Addr: port(443), Host: "dns.example.org", Name: "dns.example.org", Path: "/"}, "https://dns.example.org:443/"},
		{"https://192.0.2.53%dns.example.org", Address{Transport: HTTPS, Addr: ap("192.0.2.53:443"), Name: "dns.example.org", Path: "/dns-query"}, "https://192.0.2.53:443/dns-query"},
		{"https://[2001:db8::53%dns.example.org]:8443/q?id=1", Address{Transport: HTTPS, Addr: ap("[2001:db8::53]:8443"), Name: "dns.example.org", Path: "/q?id=1"}, "https://[2001:db8::53]:8443/q?id=1"},
		{"h3://2001:db8::53/x", Address{Transport: HTTP3, Addr: ap("[2001:db8::53]:443"), Path: "/x"}, "h3://[2001:db8::53]:443/x"},

		{stampOf(0, lp("192.0.2.53:5353")), Address{Transport: UDP, Addr: ap("192.0.2.53:5353")}, ""},
		{stampOf(2, lp("192.0.2.53", hash, "dns.example.org", "/dns-query")), Address{Transport: HTTPS, Addr: ap("192.0.2.53:443"), Name: "dns.example.org", Path: "/dns-query", Hashes: hash}, ""},
		{stampOf(2, lp("[2001:db8::53]:8443")+"\xa0"+hash+lp(hash, "dns.example.org", "/q", "192.0.2.1")), Address{Transport: HTTPS, Addr: ap("[2001:db8::53]:8443"), Name: "dns.example.org", Path: "/q", Hashes: hash + hash}, ""},
		{stampOf(3, lp("", "", "dns.example.org:8853")), Address{Transport: TLS, Addr: port(8853), Host: "dns.example.org", Name: "dns.example.org"}, ""},
		{stampOf(4, lp(":784", "", "dns.example.org")), Address{Transport: QUIC, Addr: port(784), Host: "dns.example.org", Name: "dns.example.org"}, ""},
		// The specification's own example of DoH.
		{"sdns://AgAAAAAAAAAABzEuMC4wLjEAEmRucy5jbG91ZGZsYXJlLmNvbQovZG5zLXF1ZXJ5", Address{Transport: HTTPS, Addr: ap("1.0.0.1:443"), Name: "dns.cloudflare.com", Path: "/dns-query"}, ""},
	} {
		got, err := Parse(tc.text)
		if err != nil || got != tc.want || tc.name != "" && got.String() != tc.name {
			t.Errorf("%s: %+v (%s), %v", tc.text, got, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"https://192.0.2.53/dns-query{?dns}":    "the path /dns-query{?dns} is a template: want /dns-query, because queries are sent by POST",
		"https://dns.example.org/a b":           `the path "/a b" holds " ": want it percent-encoded, as in a URL`,
		"https://":                              `"" is neither an IP address nor a name: want https://192.0.2.53%dns.example.org or https://dns.example.org`,
		"quic://localhost":                      `"localhost" is neither an IP address nor a name: want quic://192.0.2.53%dns.example.org or quic://dns.example.org`,
		"tls://dns.example.org:0":               `"0" is not a port: want a number from 1 to 65535`,
		"tls://dns.example.org%dns.example.net": `"dns.example.org" before % is not an IP address: want tls://ADDRESS%dns.example.net, or tls://dns.example.net to have the address looked up`,
		"tls://192.0.2.553":                     `"192.0.2.553" is neither an IP address nor a name: want tls://192.0.2.53%dns.example.org or tls://dns.example.org`,
		"tcp://dns.example.org":                 "a name, not an IP address: want the resolver's IP address, or tls://dns.example.org or https://dns.example.org if it speaks one of these",
		"sdns://!":                              "the stamp is not in base64url: want sdns:// and the characters A-Z, a-z, 0-9, - and _",
		"sdns://":                               "the stamp is cut short: want the whole of it",
		stampOf(1, lp("192.0.2.53")):            "the stamp is that of DNSCrypt, which is not supported: want one of plain DNS, DoH, DoT or DoQ",
		stampOf(0x85, ""):                       "the stamp is that of an Oblivious DoH relay, which is not supported: want one of plain DNS, DoH, DoT or DoQ",
		stampOf(9, ""):                          "the stamp is of an unknown kind, 0x09: want one of plain DNS, DoH, DoT or DoQ",
		stampOf(2, lp("192.0.2.53", "short", "a.example", "/q")): "a hash of the stamp has 5 bytes: want the 32 of a SHA-256",
		stampOf(2, lp("192.0.2.53", "", "dns.example.org", "q")): `the stamp's path "q" does not begin with /`,
		stampOf(3, lp("192.0.2.53", "", "nodot")):                `the stamp's name: "nodot" is neither an IP address nor a name: want tls://192.0.2.53%dns.example.org or tls://dns.example.org`,
		stampOf(3, lp("192.0.2.53", "", "dns.example.org")[:14]): "the stamp is cut short: want the whole of it",
	} {
		if _, err := Parse(text); err == nil || err.Error() != "address "+text+": "+want {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// FuzzParse: an address that is taken says of itself what was written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.53", "[2001:db8::53]:53", "tls://192.0.2.53%dns.example.org:853", "tls://[2001:db8::53%a.b]:853", "tcp://::1", "fe80::1%eth0",
		"https://dns.example.org/dns-query", "h3://[2001:db8::53]%a.b:8443/x?y=z", "quic://a.b:1", stampOf(2, lp("192.0.2.53", hash, "a.b", "/q")), stampOf(3, lp("", "", "a.b"))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "address "+s+": ") {
				t.Fatalf("error %q does not name %q", err, s)
			}
			return
		}
		if a.Addr.Addr().IsValid() == (a.Host != "") || a.Addr.Port() == 0 || a.Name != "" && !a.Transport.Encrypted() || a.Transport.HTTP() != strings.HasPrefix(a.Path, "/") {
			t.Fatalf("%q became %+v", s, a)
		}
		if again, err := Parse(a.String()); err != nil || !again.Same(a) {
			t.Fatalf("%q became %s, which becomes %+v, %v", s, a, again, err)
		}
	})
}
