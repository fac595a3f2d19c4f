package check

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/testbox"
)

// keys are those of two WireGuard files.
const keys = "[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\nAddress = 10.8.0.2/32, fd00:8::2/128\n"

const peer = "[Peer]\nPublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\n"

const wide = "AllowedIPs = 0.0.0.0/0, ::/0\n"

// Files that are valid and gateways that do not work: each is told, with its remedy.
func TestWhatWouldFailSilently(t *testing.T) {
	const vpn = "routes:\n  vpn: {wireguard: DIR/wg0.conf}\n"
	for _, c := range []struct {
		name, lan, yaml, core, conf, resolv, sh string
		code                                    int
		want                                    string // a line of the output
		not                                     string // not in the output
	}{
		{name: "a resolver in the LAN", yaml: vpn, core: "upstream vpn", conf: "DNS = 192.168.7.5\n", code: exit.Host,
			want: "error    route vpn: DIR/wg0.conf: DNS: 192.168.7.5 is in the network 192.168.7.0/24 of br-lan, not behind route vpn: its queries are dropped by the kill switch: use a resolver that is reached through the route"},
		{name: "a resolver in the WAN's network", yaml: vpn, core: "upstream vpn tls://198.51.100.9%dns.example", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream vpn: 198.51.100.9 is in the network 198.51.100.0/24 of wan0, not behind route vpn: its queries are dropped by the kill switch: use a resolver that is reached through the route"},
		{name: "DNS is this box", yaml: vpn, core: "upstream vpn", conf: "DNS = 192.168.7.1\n", code: exit.Host,
			want: "error    route vpn: DIR/wg0.conf: DNS: 192.168.7.1 is this box, which answers there itself: every query would come back until it fails: name another resolver"},
		{name: "DNS is another program of this box", yaml: vpn, core: "upstream vpn 127.0.0.1:5300",
			want: "warning  DIR/Corefile:2: upstream vpn: 127.0.0.1:5300 is this box: what that program queries itself does not take route vpn"},
		{name: "DNS in the tunnel's own network", yaml: vpn, core: "upstream vpn", conf: "DNS = 10.8.0.1\n", not: "10.8.0.1"},
		{name: "no resolver in the file", yaml: vpn, core: "upstream vpn", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream vpn: DIR/wg0.conf has no `DNS =`: names of this block get SERVFAIL: add it, or write addresses after `upstream vpn`"},
		{name: "no resolver for the name in a probe", yaml: "routes:\n  vpn: {wireguard: DIR/wg0.conf, probe: http http://cp.example.net/204}\n", core: "upstream vpn 192.0.2.9",
			want: "warning  route vpn: the probe http http://cp.example.net/204 asks resolvers of vpn, and DIR/wg0.conf has no `DNS =`: nothing is found out: write an address into the probe"},
		{name: "an address in a probe", yaml: "routes:\n  vpn: {wireguard: DIR/wg0.conf, probe: http http://192.0.2.9/204}\n", core: "upstream vpn 192.0.2.9", not: "the probe"},
		{name: "no resolver for the probe of a member", yaml: "routes:\n  nl: {wireguard: DIR/wg0.conf}\n  vpn: {egress: [nl], probe: dns example.org}\n", core: "upstream vpn 192.0.2.9",
			want: "warning  route vpn: the probe dns example.org asks resolvers of nl, and DIR/wg0.conf has no `DNS =`"},
		{name: "no resolver of an interface", yaml: "routes:\n  two: {interface: isp0}\n", core: "upstream two", code: exit.Host, sh: "ip link set isp0 up",
			want: "error    DIR/Corefile:2: upstream two: names of this block get SERVFAIL: route two: no resolver is known: isp0 was given none by DHCP, PPP or router advertisements: write addresses after `upstream two`"},
		{name: "no resolver of either block", yaml: "routes:\n  two: {interface: isp0}\n", core: "upstream two\n}\n. {\n    bind 127.0.0.1\n    upstream wan", code: exit.Host, sh: "ip link set isp0 up", resolv: "nameserver 127.0.0.1\n",
			want: "error    names on no list get SERVFAIL: no resolver of the WAN is known: /etc/resolv.conf:1: nameserver 127.0.0.1: is this box"},
		{name: "no resolver of an interface that is not there", yaml: "routes:\n  two: {interface: tun0}\n", core: "upstream two",
			want: "unknown  DIR/Corefile:2: upstream two: no resolver is known yet: route two: no resolver is known: tun0 was given none"},
		{name: "dhcp of a tunnel", yaml: vpn, core: "upstream vpn dhcp", conf: "DNS = 10.8.0.1\n", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream vpn: dhcp: a WireGuard tunnel is given no resolvers by DHCP: remove the word; without any address those of `DNS =` in DIR/wg0.conf are used"},
		{name: "only what the WAN was given", core: "upstream wan dhcp", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream wan: names of this block get SERVFAIL: wan0 was given none by DHCP, PPP or router advertisements: write addresses after `upstream wan`"},
		{name: "what the WAN was given, and another", core: "upstream wan dhcp 192.0.2.9",
			want: "warning  DIR/Corefile:2: upstream wan: dhcp: no resolver is known: wan0 was given none by DHCP, PPP or router advertisements"},
		{name: "resolvers of another family", yaml: vpn, core: "upstream vpn 2001:db8::53", conf: "ONLY4", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream vpn: all its resolvers have IPv6 addresses, which DIR/wg0.conf does not carry: names of this block get SERVFAIL: add a resolver of the other family"},
		{name: "loop of the WAN", core: "upstream wan 192.168.7.1", code: exit.Host,
			want: "error    DIR/Corefile:2: upstream wan: 192.168.7.1 is this box, which answers there itself: every query would come back until it fails: name another resolver"},
		{name: "loop of forward", core: "forward . 127.0.0.1 192.0.2.9", code: exit.Host,
			want: "error    DIR/Corefile:2: forward: 127.0.0.1 is this box, which answers there itself"},
		{name: "loop of wan_resolvers", yaml: "wan_resolvers: [192.168.7.1]\n", core: "upstream wan", code: exit.Host,
			want: "error    DIR/gateway.yaml: wan_resolvers: 192.168.7.1:53 is this box"},
		{name: "another port of this box", core: "upstream wan 127.0.0.1:5300", want: "no errors"},
		{name: "endpoint by name without a resolver", yaml: vpn, core: "upstream vpn 192.0.2.9", conf: "NAMED", resolv: "nameserver 127.0.0.1\n", code: exit.Host,
			want: "error    vpn.example.net cannot be resolved, so the tunnel to it stays down: no resolver of the WAN is known: /etc/resolv.conf:1: nameserver 127.0.0.1: is this box, which cannot query itself: set `wan_resolvers: [ADDRESS]` in DIR/gateway.yaml"},
		{name: "misspelled lan", lan: "br_lan", core: "upstream wan 192.0.2.9",
			want: "warning  lan: interface br_lan does not exist: did you mean br-lan? (it is used as soon as it appears)"},
		{name: "misspelled wan", yaml: "wan: wan1\n", core: "upstream wan 192.0.2.9",
			want: "warning  wan: interface wan1 does not exist: did you mean wan0? (it is used as soon as it appears)"},
		{name: "wan without the default", yaml: "wan: isp0\n", core: "upstream wan 192.0.2.9",
			want: "warning  wan: table main has no default route via isp0, but via wan0: names on no list have no way out until it has one"},
		{name: "a second uplink", yaml: "wan: wan0\n", core: "upstream wan 192.0.2.9", sh: "ip link set isp0 up; ip addr add 203.0.113.2/24 dev isp0; ip route add default via 203.0.113.1 dev isp0 metric 200",
			want: "warning  wan: table main has a default route via isp0, too, which is not followed: tunnels and the WAN's queries do not use it when wan0 fails, and connections that come in by it are answered via wan0: write wan: [wan0, isp0], which probes both, or wan: auto, which follows the metrics of table main, or make it a route: interface: isp0"},
		{name: "a second uplink of IPv6", yaml: "wan: wan0\n", core: "upstream wan 192.0.2.9", sh: "ip link set isp0 up; ip addr add 2001:db8:2::2/64 dev isp0 nodad; ip route add default via 2001:db8:2::1 dev isp0 metric 200",
			want: "warning  wan: table main has a default route via isp0, too"},
		{name: "two uplinks that are followed", core: "upstream wan 192.0.2.9", sh: "ip link set isp0 up; ip addr add 203.0.113.2/24 dev isp0; ip route add default via 203.0.113.1 dev isp0 metric 200", not: "not followed",
			want: "ok       wan: auto follows the metrics of table main, by wan0 and isp0: a provider that goes silent is not noticed: wan: [wan0, isp0] probes each and moves within 3 s"},
		{name: "a second uplink that is a route", yaml: "wan: wan0\nroutes:\n  two: {interface: isp0}\n", core: "upstream wan 192.0.2.9", sh: "ip link set isp0 up; ip addr add 203.0.113.2/24 dev isp0; ip route add default via 203.0.113.1 dev isp0 metric 200", not: "not followed"},
		{name: "the default of a tunnel", yaml: "wan: wan0\n", core: "upstream wan 192.0.2.9", sh: "ip tuntap add tun9 mode tun; ip link set tun9 up; ip route add default dev tun9 metric 200", not: "not followed"},
		{name: "a port of the bridge", lan: "port0", core: "upstream wan 192.0.2.9", sh: "ip tuntap add port0 mode tap; ip link set port0 up master br-lan",
			want: "warning  lan: interface port0 is a port of the bridge br-lan, by which its clients' packets come in: they are not answered: write lan: [br-lan]"},
		{name: "lan is down", core: "upstream wan 192.0.2.9", sh: "ip link set br-lan down",
			want: "warning  lan: interface br-lan is down: its clients are not answered: ip link set br-lan up"},
		{name: "the route is the WAN", yaml: "routes:\n  two: {interface: wan0}\n", core: "upstream wan 192.0.2.9", code: exit.Host,
			want: "error    DIR/gateway.yaml:3:20: routes.two.interface: wan0: is the interface of the default route, so that there is no WAN: want next_hop: for another router on the WAN's network, or wan: with the interface of the WAN if that is another one"},
		{name: "a port that is none", core: "upstream wan 192.0.2.9\n}\nexample.org:99999 {\n    whoami", code: exit.Corefile,
			want: "error    DIR/Corefile:4: example.org:99999: port 99999: want 1 to 65535"},
		{name: "a block without an answer", yaml: vpn, core: "upstream wan 192.0.2.9\n}\nexample.org {\n    route vpn\n    cache",
			want: "warning  DIR/Corefile:4: example.org: nothing in the block answers, so all its names get REFUSED: add `upstream vpn`"},
		{name: "bind to a misspelled interface", core: "bind br-lam\n    upstream wan 192.0.2.9",
			want: "warning  DIR/Corefile:1: bind: interface br-lam does not exist: did you mean br-lan? (no query is answered there until it does)"},
		{name: "bind to another's address", core: "bind 192.168.7.9 127.0.0.1 192.168.7.1\n    upstream wan 192.0.2.9",
			want: "warning  DIR/Corefile:1: bind: 192.168.7.9 is no address of this box: no query is answered there until it is"},
		{name: "a next hop far away", yaml: "routes:\n  two: {next_hop: 203.0.113.9}\n", core: "upstream wan 192.0.2.9",
			want: "warning  route two: next hop 203.0.113.9 is in no network of this box: the route is down until it is: ip route get 203.0.113.9"},
		{name: "an interface without a gateway", yaml: "routes:\n  two: {interface: isp0}\n", core: "upstream wan 192.0.2.9",
			want: "warning  route two: table main has no default route via isp0, and it is not point-to-point: the route is down until it has one: write next_hop: with the address of the router there"},
		{name: "an interface with a gateway", yaml: "routes:\n  two: {interface: isp0}\n", core: "upstream wan 192.0.2.9",
			sh: "ip link set isp0 up; ip addr add 203.0.113.2/24 dev isp0; ip route add default via 203.0.113.1 dev isp0 metric 200", not: "no default route via isp0"},
		{name: "a next hop that is a neighbour", yaml: "routes:\n  two: {next_hop: 198.51.100.9}\n", core: "upstream wan 192.0.2.9", not: "next hop"},
		{name: "a next hop that is the WAN", yaml: "routes:\n  two: {next_hop: 198.51.100.1}\n", core: "upstream wan 192.0.2.9",
			want: "warning  route two: next hop 198.51.100.1 is the WAN's own gateway: what takes the route leaves as everything else"},
		{name: "lan without an address", lan: "isp0", core: "upstream wan 192.0.2.9",
			want: "warning  lan: interface isp0 has no address, so its clients have none to query: ip addr add ADDRESS/24 dev isp0"},
		{name: "another network", core: "upstream wan 192.0.2.9", sh: "ip addr add 192.168.9.1/24 dev isp0",
			want: "ok       isp0 (192.168.9.0/24) is not in lan: clients on it, if there are any, get no answers from this box"},
		{name: "containers", core: "upstream wan 192.0.2.9", sh: "ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up",
			want: "warning  docker0 (172.17.0.0/16) is not in lan: containers, machines or clients on it get no answers from this box: add it to lan: in DIR/gateway.yaml, or give them another resolver"},
		{name: "split AllowedIPs", yaml: vpn, core: "upstream vpn 10.8.0.1", conf: "SPLIT",
			want: "warning  route vpn: WireGuard drops packets to addresses that are not in the AllowedIPs of DIR/wg0.conf, such as 0.0.0.0/5, 8.0.0.0/7, 11.0.0.0/8 and"},
		{name: "split AllowedIPs of an office", yaml: "routes:\n  vpn: {wireguard: DIR/wg0.conf, private: learn}\n", core: "upstream vpn 10.8.0.1", conf: "SPLIT",
			want: "ok       route vpn: WireGuard takes packets to the AllowedIPs of DIR/wg0.conf alone: 10.0.0.0/8"},
		{name: "halves of everything", yaml: vpn, core: "upstream vpn 10.8.0.1", conf: "HALVES", not: "WireGuard drops"},
		{name: "everything but private networks", yaml: vpn, core: "upstream vpn 9.9.9.9", conf: "PUBLIC", not: "WireGuard drops"},
		{name: "AllowedIPs of a family without an Address", yaml: "routes:\n  vpn: {wireguard: DIR/wg0.conf, prefixes: [allowed_ips]}\n", core: "upstream wan 192.0.2.9", conf: "ONLY6",
			want: "warning  route vpn: DIR/wg0.conf has no IPv4 Address, so the tunnel carries no IPv4 and what it is allowed of that is blocked: 0.0.0.0/0: add an Address"},
		{name: "a probe that nobody can be asked by", yaml: "routes:\n  nl: {wireguard: DIR/wg0.conf}\n  two: {interface: tun0}\n  all: {egress: [nl, two], probe: dns example.org}\n", core: "upstream all 192.0.2.9",
			want: "warning  route all: its member nl has no resolver that the probe could ask, so it finds out nothing there: write `dns NAME ADDRESS`, or add `DNS =` to DIR/wg0.conf"},
		{name: "handshakes alone", yaml: "routes:\n  nl: {wireguard: DIR/wg0.conf}\n  all: {egress: [nl]}\n", core: "upstream all 192.0.2.9",
			want: "ok       route all: handshakes alone tell of a silent member after handshake_limit"},
		{name: "a list of prefixes", yaml: "routes:\n  two: {interface: tun0, prefixes: [nets]}\nlists:\n  nets: {file: DIR/nets.txt}\n", core: "upstream wan 192.0.2.9",
			want: "ok       list nets: 2 prefixes, ", not: "is empty"},
		{name: "listed names asked by the WAN and sent by the default", yaml: "default: two\nroutes:\n  two: {interface: tun0}\nlists:\n  nets: {file: DIR/nets.txt}\n",
			core: "listed nets\n    upstream wan 192.0.2.9\n}\n. {\n    upstream two 192.0.2.9",
			want: "warning  DIR/Corefile:3: names of this block are asked by the WAN, and packets to them take route two, but for what is in prefixes: of wan: write `route wan` into the block"},
		{name: "a list of prefixes for the WAN", yaml: "routes:\n  wan: {prefixes: [nets]}\nlists:\n  nets: {file: DIR/nets.txt}\n", core: "upstream wan 192.0.2.9",
			want: "ok       list nets: 2 prefixes, ", not: "which no route uses"},
		{name: "a list of prefixes that no route uses", yaml: "lists:\n  nets: {file: DIR/nets.txt}\n", core: "upstream wan 192.0.2.9",
			want: "warning  list nets: it holds prefixes only, which no route uses: name it in prefixes: of a route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			lan := c.lan
			if lan == "" {
				lan = "br-lan"
			}
			conf := keys + c.conf + peer + wide + "Endpoint = 192.0.2.1:51820\n"
			switch c.conf {
			case "ONLY4":
				conf = strings.Replace(keys, ", fd00:8::2/128", "", 1) + peer + "AllowedIPs = 0.0.0.0/0\n"
			case "ONLY6":
				conf = strings.Replace(keys, "10.8.0.2/32, ", "", 1) + peer + wide
			case "NAMED":
				conf = keys + peer + wide + "Endpoint = vpn.example.net:51820\n"
			case "SPLIT":
				conf = keys + peer + "AllowedIPs = 10.0.0.0/8\n"
			case "HALVES":
				conf = keys + peer + "AllowedIPs = 0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1\n"
			case "PUBLIC":
				conf = keys + peer + "AllowedIPs = 0.0.0.0/5, 8.0.0.0/7, 11.0.0.0/8, 12.0.0.0/6, 16.0.0.0/4, 32.0.0.0/3, 64.0.0.0/2, 128.0.0.0/3, 160.0.0.0/5, 168.0.0.0/6, 172.0.0.0/12, 172.32.0.0/11, 172.64.0.0/10, 172.128.0.0/9, 173.0.0.0/8, 174.0.0.0/7, 176.0.0.0/4, 192.0.0.0/9, 192.128.0.0/11, 192.160.0.0/13, 192.169.0.0/16, 192.170.0.0/15, 192.172.0.0/14, 192.176.0.0/12, 192.192.0.0/10, 193.0.0.0/8, 194.0.0.0/7, 196.0.0.0/6, 200.0.0.0/5, 208.0.0.0/4, 2000::/3\n"
			}
			resolv := c.resolv
			if resolv == "" {
				resolv = "nameserver 192.0.2.53\n"
			}
			for name, text := range map[string]string{
				"resolv.conf": resolv, "wg0.conf": conf, "nets.txt": "198.51.100.0/24\n2001:db8::/32\n",
				"gateway.yaml": "lan: [" + lan + "]\n" + strings.ReplaceAll(c.yaml, "DIR", dir), "Corefile": ". {\n    " + c.core + "\n}\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b := testbox.New(t)
			b.Sh("for d in /run /var/lib/dhcp /var/lib/dhclient; do [ ! -d $d ] || mount -t tmpfs tmpfs $d; done; mount --bind " + dir + "/resolv.conf /etc/resolv.conf\n" + c.sh)
			var out bytes.Buffer
			o := Options{Paths: paths.Paths{Config: filepath.Join(dir, "gateway.yaml"), Corefile: filepath.Join(dir, "Corefile"), State: dir, Run: dir}, Out: &out}
			var err error
			b.Do(func() { err = Files(o) })
			got := strings.ReplaceAll(out.String(), dir, "DIR")
			if !strings.Contains("\n"+got, "\n"+c.want) || c.not != "" && strings.Contains(got, c.not) || exit.Code(err) != c.code {
				t.Errorf("exit code %d, want %d; got\n%swant\n%s", exit.Code(err), c.code, got, c.want)
			}
		})
	}
}
