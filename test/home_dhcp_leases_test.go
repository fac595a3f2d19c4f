package test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// dhcpServers are real DHCP servers as the box would run them, for both families.
var dhcpServers = map[string]struct {
	tools []string
	start func(g *gate, dir string) (leases []string)
}{
	"dnsmasq": {[]string{"dnsmasq"}, func(g *gate, dir string) []string {
		leases := filepath.Join(dir, "dnsmasq.leases")
		g.Box.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--log-dhcp",
			"--port=0", "--interface=br-lan", "--no-ping", "--dhcp-authoritative", "--dhcp-leasefile="+leases,
			"--dhcp-range=192.168.77.100,192.168.77.150,1h", "--dhcp-range=fd77::1000,fd77::1fff,64,1h")
		return []string{leases}
	}},
	"Kea": {[]string{"kea-dhcp4", "kea-dhcp6"}, func(g *gate, dir string) []string {
		g.Box.Sh("mount -t tmpfs tmpfs /var/lib; mkdir -p /run/kea /var/lib/kea") // its identity is written there
		var leases []string
		for family, subnet := range map[string]string{
			"4": `"subnet": "192.168.77.0/24", "pools": [{"pool": "192.168.77.100 - 192.168.77.150"}]`,
			"6": `"subnet": "fd77::/64", "interface": "br-lan", "pools": [{"pool": "fd77::1000 - fd77::1fff"}]`,
		} {
			file := filepath.Join(dir, "kea-leases"+family+".csv")
			conf := g.Box.Write("kea"+family+".conf", fmt.Sprintf(`{"Dhcp%[1]s": {
  "interfaces-config": {"interfaces": ["br-lan"]}, "valid-lifetime": 3600,
  "lease-database": {"type": "memfile", "persist": true, "name": "%[2]s", "lfc-interval": 0},
  "subnet%[1]s": [{"id": 1, %[3]s}],
  "loggers": [{"name": "kea-dhcp%[1]s", "severity": "INFO", "output_options": [{"output": "stdout"}]}]
}}`, family, file, subnet))
			g.logs(g.Box.StartEnv([]string{"KEA_PIDFILE_DIR=/run/kea", "KEA_LOCKFILE_DIR=/run/kea"}, "kea-dhcp"+family, "-c", conf))
			leases = append(leases, file)
		}
		return leases
	}},
}

// A client that gets a lease has a name a moment later, and loses it with the lease.
func TestDHCPClientsHaveNames(t *testing.T) {
	t.Parallel()
	for server, s := range dhcpServers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			netlab.Need(t, append([]string{"dhcpcd"}, s.tools...)...)
			g.Box.WriteFiles(netlab.Setup{})
			leases := s.start(g, g.Box.Dir)
			corefile := ""
			for _, l := range leases {
				corefile += " " + l
			}
			g.Box.Write("Corefile", fmt.Sprintf(". {\n listed mine\n route vpn\n upstream vpn %s\n}\n. {\n leases lan%s\n home\n rebind\n upstream wan %s\n}\n",
				g.Plan.World.V4, corefile, g.Plan.ISP.V4))
			g.start()
			g.Reset()
			if reply := g.exchange("printer.lan", dns.TypeA, "udp"); reply.Rcode != dns.RcodeNameError {
				t.Errorf("before there is a lease: %s", dns.RcodeToString[reply.Rcode])
			}

			addrs := g.lease("printer")
			began := time.Now()
			for i, a := range addrs {
				g.awaitAnswer("printer", []uint16{dns.TypeA, dns.TypeAAAA}[i], a, 10*time.Second)
			}
			t.Logf("both addresses are answered %v after the client has the second one", time.Since(began).Round(time.Millisecond))
			for _, name := range []string{"printer", "printer.lan"} {
				for i, a := range addrs {
					qtype := []uint16{dns.TypeA, dns.TypeAAAA}[i]
					for _, proto := range protos {
						if got := addressesIn(g.query(name, qtype, proto)); len(got) != 1 || got[0] != a {
							t.Errorf("%s over %s: %v, want %s", name, proto, got, a)
						}
					}
				}
			}
			for _, a := range addrs {
				reverse, err := dns.ReverseAddr(a.String())
				if err != nil {
					t.Fatal(err)
				}
				if reply := g.query(reverse, dns.TypePTR, "udp"); len(reply.Answer) != 1 || reply.Answer[0].(*dns.PTR).Ptr != "printer.lan." {
					t.Errorf("%s: %v", reverse, reply.Answer)
				}
			}
			if asked := g.World.Queries(); len(asked) > 0 {
				t.Errorf("%d queries left the home, the first: %s", len(asked), asked[0])
			}
		})
	}
}

// awaitAnswer waits until the box answers with an address.
func (g *gate) awaitAnswer(name string, qtype uint16, want netip.Addr, limit time.Duration) {
	g.t.Helper()
	netlab.Eventually(g.t, limit, func() error {
		got := addressesIn(g.exchange(name, qtype, "udp"))
		return netlab.Check(len(got) == 1 && got[0] == want, "%s %s: %v, want %s", name, dns.TypeToString[qtype], got, want)
	})
}

// lease plugs a machine into the LAN that asks for addresses under a name, and returns
// what it got, IPv4 first.
func (g *gate) lease(name string) []netip.Addr {
	g.t.Helper()
	host := netlab.NewNamespace(g.t, name)
	host.Sysctl("net/ipv6/conf/default/accept_dad=0", "net/ipv6/conf/default/accept_ra=0")
	netlab.Cable(host, "eth0", g.Box.Namespace, "lan9")
	g.Box.IP("link set lan9 master br-lan")
	host.Sh("mount -t tmpfs tmpfs /var/lib/dhcpcd")
	conf := g.Box.Write("dhcpcd.conf", "hostname "+name+"\nfqdn both\nduid\nnoarp\nnoipv6rs\nnodelay\nnohook resolv.conf\nscript /bin/true\n"+
		"interface eth0\nia_na 1\n")
	g.logs(host.Start("dhcpcd", "-B", "-f", conf, "eth0"))
	var addrs []netip.Addr
	for _, family := range []string{"-4", "-6"} {
		var got []netip.Addr
		netlab.Eventually(g.t, 20*time.Second, func() error {
			got = addressesOf(host.Run("ip", family, "-brief", "addr", "show", "dev", "eth0", "scope", "global"))
			return netlab.Check(len(got) == 1, "%s got no lease by DHCPv%s: %v", name, family[1:], got)
		})
		addrs = append(addrs, got...)
	}
	return addrs
}

// addressesOf are the addresses that ip printed.
func addressesOf(text string) (addrs []netip.Addr) {
	for _, word := range strings.Fields(text) {
		if p, err := netip.ParsePrefix(word); err == nil {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs
}
