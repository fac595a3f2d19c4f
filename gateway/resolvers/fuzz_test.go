package resolvers

import (
	"strings"
	"testing"
)

// Whatever the files of DHCP clients and of resolvconf contain, what is read of them is
// addresses on lines that they have.
func FuzzSources(f *testing.F) {
	f.Add("eth0.dhcp", "nameserver 192.0.2.1\nnameserver 2001:db8::1%eth0\noptions trust-ad\n")
	f.Add("eth0.100", "# nameserver 192.0.2.1\nnameserver\nnameserver x\n")
	f.Add("dhclient.leases", "lease {\n  interface \"eth0\";\n  option domain-name-servers 192.0.2.1, 192.0.2.2;\n  expire 4 2030/01/01 00:00:00;\n}\n")
	f.Add("dhclient6.leases", "lease6 {\n  interface \"eth0\";\n  option dhcp6.name-servers 2001:db8::1;\n  expire never;\n")
	f.Add("", "lease {\n option domain-name-servers ,,;\n}}\nlease {")
	f.Fuzz(func(t *testing.T, name, text string) {
		lines := strings.Count(text, "\n") + 1
		for _, s := range sources {
			for _, e := range s.parse("/run/"+name, []byte(text)) {
				if !e.addr.IsValid() || e.line < 1 || e.line > lines || strings.ContainsAny(e.link, "\n/ ") && !strings.ContainsAny(name, "\n/ ") && !strings.Contains(text, e.link) {
					t.Errorf("%+v of %d lines", e, lines)
				}
			}
		}
	})
}
