package resolvers

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever the files of other programs contain, what is read of them is addresses that can
// be asked, on lines that the files have and links that they name or that are there.
func FuzzSources(f *testing.F) {
	f.Add("eth0.dhcp", "nameserver 192.0.2.1\nnameserver 2001:db8::1%eth0\noptions trust-ad\n")
	f.Add("eth0.100", "# nameserver 192.0.2.1\nnameserver\nnameserver x\n")
	f.Add("dhclient.leases", "lease {\n  interface \"eth0\";\n  option domain-name-servers 192.0.2.1, 192.0.2.2;\n  expire 4 2030/01/01 00:00:00;\n}\n")
	f.Add("dhclient6.leases", "lease6 {\n  interface \"eth0\";\n  option dhcp6.name-servers 2001:db8::1;\n  expire never;\n")
	f.Add("", "lease {\n option domain-name-servers ,,;\n}}\nlease {")
	f.Add("2", "DNS=192.0.2.1 [2001:db8::1]:5353#x fe80::1%2 fe80::2\nSERVERS=192.0.2.1:53%2#y\n")
	f.Add("2", "[device]\nconnection-uuid=../../x\n[dhcp4]\ndomain_name_servers=192.0.2.1\\s192.0.2.2\n")
	f.Add("resolv.conf.auto", "# Interface wan\nnameserver 192.0.2.1\n# Interface wan_6_6_6_6_6_6_6_6_6_6_6\nnameserver 192.0.2.1\n")
	f.Add("advertised", "2 wan0 fe80::1 2001:db8::1 5 0\n2 wan0 fe80::1%x fe80::2%y 18446744073709551615 99999999999\n")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, name, text string) {
		lines := strings.Count(text, "\n") + 1
		b := &box{root: root, links: map[int]string{2: "wan0"}}
		for _, s := range sources {
			for _, e := range s.parse(b, "/run/"+name, []byte(text)) {
				a := e.server.Addr()
				if !a.IsValid() || a.IsMulticast() || e.server.Port() == 0 || e.line < 1 || e.line > lines || a.Zone() != "" && a.Zone() != e.link ||
					e.link != "wan0" && !strings.Contains(text, e.link) && !strings.Contains(name, e.link) {
					t.Errorf("%+v of %d lines", e, lines)
				}
			}
		}
	})
}

// /etc/config/network of OpenWrt, in which interfaces may be defined by each other.
func FuzzNetworks(f *testing.F) {
	f.Add("config interface 'wan'\n\toption device '@wan6'\nconfig interface wan6\n option ifname \"@wan\"\n", "wan_6")
	f.Add("config interface\noption\nconfig interface '\noption proto", "")
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, text, name string) {
		write(t, root, "/etc/config/network", text)
		b := &box{root: root, links: map[int]string{2: "wan0"}}
		if link := b.deviceOf(b.networks(), name, 0); link != "" && link != "wan0" {
			t.Errorf("%q is no link", link)
		}
	})
}

// What the kernel passes on of a router advertisement is what anybody on the link has sent.
func FuzzOption(f *testing.F) {
	f.Add(userOption(2, 1800, "2001:db8::53", "fe80::1"))
	f.Add(userOption(2, 0)[:20])
	f.Add([]byte{unix.AF_INET6, 0, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, ok := parseOption(syscall.NetlinkMessage{Data: data})
		if ok && len(m.servers) > 255/2 {
			t.Errorf("%d resolvers in one option", len(m.servers))
		}
		var s advertised
		s.hear(m.index, "wan0", m.router, m.servers, m.lifetime, time.Hour)
		s.hear(m.index, "wan0", m.router, m.servers, 0, 2*time.Hour)
		if len(s.all) > 0 {
			t.Errorf("withdrawn, and still there: %v", s.all)
		}
	})
}

// userOption is a message of the kernel about an option of a router advertisement from fe80::1.
func userOption(index uint32, lifetime uint32, servers ...string) []byte {
	option := []byte{optionRDNSS, byte(1 + 2*len(servers)), 0, 0, byte(lifetime >> 24), byte(lifetime >> 16), byte(lifetime >> 8), byte(lifetime)}
	for _, s := range servers {
		a := netip.MustParseAddr(s).As16()
		option = append(option, a[:]...)
	}
	b := []byte{unix.AF_INET6, 0, 0, 0, 0, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0}
	native(b[2:4], uint32(len(option)))
	native(b[4:8], index)
	b = append(b, option...)
	router := netip.MustParseAddr("fe80::1").As16()
	attr := []byte{0, 0, 0, 0}
	native(attr[0:2], 20)
	native(attr[2:4], attrSourceAddr)
	return append(append(b, attr...), router[:]...)
}

// Files of any kind have the names that are read: only regular ones are, and those that a
// link leads to.
func TestFilesOfAnyKind(t *testing.T) {
	root := system(t, map[string]string{resolvConf: selfOnly, "/target": "nameserver 192.0.2.53\n",
		"/run/dhcpcd/hook-state/resolv.conf/wan0.dhcp": strings.Repeat("x", 3*maxFile) + "\nnameserver 192.0.2.54\n\x00\xff"})
	dir := root + "/run/dhcpcd/hook-state/resolv.conf/"
	for name, make := range map[string]func(string) error{
		"wan0.inet":  func(p string) error { return os.Symlink(root+"/target", p) },
		"wan0.ra":    func(p string) error { return os.Symlink(p, p) },
		"wan0.dhcp6": func(p string) error { return os.Mkdir(p, 0o755) },
		"wan0.ppp":   func(p string) error { return unix.Mkfifo(p, 0o644) },
		"wan0.inet6": func(p string) error { return os.Symlink("/dev/zero", p) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := at(root).ofWAN(config(), wan0)
	if got := strings.Join(texts(found.Servers), " "); err != nil || got != "192.0.2.54 192.0.2.53" {
		t.Errorf("%s, %v", got, err)
	}
}
