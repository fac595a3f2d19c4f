package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// build builds the lab and writes the user's two files.
func (d *demo) build() {
	d.title("A home network, built of network namespaces on this machine")
	d.quote(`client ──── box ════ ISP ──── internet
             │                  │
             └── wg0 ─────── VPN server      (a WireGuard that is not ours)`)
	d.lab = netlab.New(labT{d}, netlab.Options{GoResolvers: true})
	d.lab.Box.WriteFiles(netlab.Setup{})
	d.lab.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
routes:
  vpn:
    wireguard: %s
lists:
  demo:
    file: %s
`, filepath.Join(d.lab.Box.Dir, "wg0.conf"), d.names.file))
	d.lab.Box.Write("Corefile", fmt.Sprintf(`. {
    listed demo
    route vpn
    cache
    upstream vpn %s
}
. {
    cache
    upstream wan %s
}
`, d.lab.Plan.World.V4, d.lab.Plan.ISP.V4))
	d.say("The box has the provider's wg0.conf and two files, gateway.yaml and Corefile:")
	d.quote(d.file("gateway.yaml"))
	d.quote(d.file("Corefile"))
	d.say("The list has %d entries (%s).", d.names.count, d.names.format)
}

func (d *demo) run() {
	d.title("nameroute run")
	began := time.Now()
	d.start()
	d.say("The nft table exists, the tunnel is up and queries are answered, after %d ms.", time.Since(began).Milliseconds())
	d.quote(d.lab.Box.Run("ip", "rule"))
}

func (d *demo) listedName() {
	name := d.names.listed[0]
	d.title("The client queries a listed name: %s", name)
	d.lab.Reset()
	addrs := d.ask(name)
	d.say("The answer: %s. Before it left the box, the kernel had these elements:", join(addrs))
	for _, set := range []string{"vpn4", "vpn6"} {
		d.quote(d.lab.Box.Run("nft", "list", "set", "inet", "nameroute", set))
	}
	egresses := d.egresses(d.lab.Client, addrs, 2*time.Second)
	held := len(addrs) == 2 && only(egresses, netlab.ViaVPN)
	d.claim(held, "A listed name takes the tunnel, IPv4 and IPv6", "%s", described(egresses))
	d.claim(d.clear() == 0, "The ISP sees none of it in the clear", "%d packets in the clear, %d inside the tunnel",
		d.clear(), len(d.lab.ISP.Encrypted()))
	inside := true
	for _, q := range d.lab.World.Queries(name) {
		inside = inside && q.Egress == netlab.ViaVPN
	}
	d.claim(inside, "Its resolver was queried through the tunnel", "%d queries", len(d.lab.World.Queries(name)))
	egresses = d.egresses(d.lab.Box.Host, addrs, 2*time.Second)
	d.claim(only(egresses, netlab.ViaVPN), "The box's own programs reach it through the tunnel too", "%s", described(egresses))
}

func (d *demo) otherName() {
	d.title("The client queries a name on no list: %s", d.names.other)
	d.lab.Reset()
	addrs := d.ask(d.names.other)
	egresses := d.egresses(d.lab.Client, addrs, 2*time.Second)
	d.say("The answer: %s.", join(addrs))
	d.claim(len(addrs) == 2 && only(egresses, netlab.ViaWAN), "Every other name takes the WAN, as before", "%s; %d packets seen at the ISP",
		described(egresses), d.clear(addrs...))
}

// freshNames shows the race that programs lose which fill their sets after the answer.
func (d *demo) freshNames() {
	const n = 100
	d.title("%d new names below it, each connected to the moment it is answered", n)
	d.lab.Reset()
	egresses := map[netlab.Egress]int{}
	for i := range n {
		addrs := d.ask(fmt.Sprintf("host%d.%s", i, d.names.listed[0]))
		for egress, k := range d.egresses(d.lab.Client, addrs[:min(1, len(addrs))], 2*time.Second) {
			egresses[egress] += k
		}
	}
	d.claim(egresses[netlab.ViaVPN] == n, "No race: none of them leaves via the WAN", "%s, %d packets in the clear", described(egresses), d.clear())
}

// bypasses shows what lists alone do not catch.
func (d *demo) bypasses() {
	name := "www." + d.names.listed[0]
	d.title("No bypass: aliases and the hints of HTTPS records")
	cdn, hint := d.lab.World.Addresses("edge.cdn.example.net"), d.lab.World.Addresses("hint.cdn.example.net")
	d.lab.World.Add(name+". 300 IN CNAME edge.cdn.example.net.",
		fmt.Sprintf("svc.%s. 300 IN HTTPS 1 . alpn=h2 ipv4hint=%s ipv6hint=%s", d.names.listed[0], hint.V4, hint.V6))
	d.lab.Reset()
	d.ask(name)
	direct := d.ask("edge.cdn.example.net")
	egresses := d.egresses(d.lab.Client, append(direct, cdn.All()...), 2*time.Second)
	d.claim(only(egresses, netlab.ViaVPN), "The alias of a listed name is listed too", "%s", described(egresses))
	if _, err := d.query("svc."+d.names.listed[0], dns.TypeHTTPS); err != nil {
		d.say("HTTPS: %v", err)
	}
	egresses = d.egresses(d.lab.Client, hint.All(), 2*time.Second)
	d.claim(only(egresses, netlab.ViaVPN), "Address hints of HTTPS records are routed", "%s", described(egresses))
}

func (d *demo) silentTunnel() {
	d.title("The tunnel's peer goes silent")
	addrs := d.ask(d.names.listed[0])
	d.lab.Tunnel.Silence(true)
	d.lab.Reset()
	egresses := d.egresses(d.lab.Client, addrs, 500*time.Millisecond)
	_, err := d.query("fresh-while-cut."+d.names.listed[0], dns.TypeA)
	d.claim(only(egresses, "nowhere") && d.clear() == 0, "Kill switch: neither packets nor queries leave via the WAN", "%s, %d packets in the clear; a new listed name: %s",
		described(egresses), d.clear(), answered(err))
	others := d.ask("other-while-cut.example")
	egresses = d.egresses(d.lab.Client, others, 2*time.Second)
	d.claim(len(others) == 2 && only(egresses, netlab.ViaWAN), "Other names are unaffected", "%s", described(egresses))
	d.lab.Tunnel.Silence(false)
}

func (d *demo) killed() {
	d.title("nameroute is killed (SIGKILL), and the tunnel's interface deleted")
	addrs := d.ask(d.names.listed[0])
	d.kill()
	d.lab.Box.Delete("wg0")
	d.lab.Reset()
	egresses := d.egresses(d.lab.Client, addrs, time.Second)
	for host, n := range map[*netlab.Host]int{d.lab.Client: 50, d.lab.Box.Host: 50} {
		for _, a := range addrs {
			host.Flood(a, n, 64, 0) // refused is as good as dropped: the tap counts
		}
	}
	d.claim(only(egresses, "nowhere") && d.clear(addrs...) == 0, "The kill switch is active without a running nameroute", "%s, 200 datagrams sent, %d packets in the clear",
		described(egresses), d.clear(addrs...))
}

func (d *demo) back() {
	d.title("nameroute is started again")
	addrs := d.known()
	began := time.Now()
	d.start()
	var egresses map[netlab.Egress]int
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		if egresses = d.egresses(d.lab.Client, addrs, time.Second); only(egresses, netlab.ViaVPN) {
			break
		}
	}
	d.claim(only(egresses, netlab.ViaVPN), "The sets kept their elements and the tunnel is back", "%s, without a new query, %d ms after the start",
		described(egresses), time.Since(began).Milliseconds())
}

// known returns the listed name's addresses without a query.
func (d *demo) known() []netip.Addr { return d.lab.World.Addresses(d.names.listed[0]).All() }

func (d *demo) down() {
	d.title("nameroute down")
	self := fmt.Sprintf("/proc/%d/exe", d.process.Pid)
	out, err := d.lab.Box.Exec(append([]string{self, "down"}, d.lab.Box.Flags()...)...)
	d.process.Wait(5 * time.Second)
	left := strings.TrimSpace(d.lab.Box.Run("sh", "-c",
		"nft list tables | grep nameroute; ip rule | grep 'proto 110'; ip -6 rule | grep 'proto 110'; ip route show table all proto 110; ip -6 route show table all proto 110; ip -br link | grep wg0; true"))
	if left == "" {
		left = "nothing is left"
	}
	if err != nil {
		left = out
	}
	d.claim(err == nil && left == "nothing is left", "It removes everything that nameroute set up", "%s", left)
}

// answered describes the result of a query.
func answered(err error) string {
	var n net.Error
	switch {
	case err == nil:
		return "answered"
	case errors.As(err, &n) && n.Timeout():
		return "no answer"
	}
	return err.Error()
}

func join(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, " and ")
}
