package probe

import "testing"

func TestParseResolver(t *testing.T) {
	for text, want := range map[string]string{
		"9.9.9.9":                              "dns 9.9.9.9:53 ",
		"9.9.9.9:5353":                         "dns 9.9.9.9:5353 ",
		"2620:fe::fe":                          "dns [2620:fe::fe]:53 ",
		"[2620:fe::fe]:5353":                   "dns [2620:fe::fe]:5353 ",
		"fe80::1%wan0":                         "dns [fe80::1%wan0]:53 ",
		"tcp://9.9.9.9":                        "tcp 9.9.9.9:53 ",
		"tls://9.9.9.9":                        "tls 9.9.9.9:853 ",
		"tls://9.9.9.9%dns.quad9.net":          "tls 9.9.9.9:853 dns.quad9.net",
		"tls://9.9.9.9%dns.quad9.net:8853":     "tls 9.9.9.9:8853 dns.quad9.net",
		"tls://9.9.9.9:8853":                   "tls 9.9.9.9:8853 ",
		"tls://[2620:fe::fe]%dns.quad9.net:85": "tls [2620:fe::fe]:85 dns.quad9.net",
		"tls://2620:fe::fe%dns.quad9.net":      "tls [2620:fe::fe]:853 dns.quad9.net",
		"tls://[2620:fe::fe%dns.quad9.net]:85": "tls [2620:fe::fe]:85 dns.quad9.net",
		"/etc/resolv.conf":                     "",
		"dns.example.net":                      "",
	} {
		r, ok := ParseResolver(text)
		got := ""
		if ok {
			got = r.Kind + " " + r.Addr.String() + " " + r.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
