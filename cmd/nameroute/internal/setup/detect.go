package setup

import (
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// box is what init detects on this machine.
type box struct {
	wan       []string    // interfaces of default routes
	lan       []candidate // interfaces that may be the LAN's
	wireguard []string    // files of tunnels to the internet
	tunnels   []string    // interfaces of OpenVPN, PPP and others that are up and not the WAN
	port53    []string    // programs that use it
	firewalls []string
	notes     []string
	resolvers bool     // resolvers of the WAN are known
	leases    []string // files of DHCP servers
	domain    string   // of their clients
}

// candidate is an interface that may be the LAN's.
type candidate struct {
	name   string
	addrs  []netip.Addr // without link-local ones
	bridge bool
}

// virtualBridges matches the bridges of containers and virtual machines.
var virtualBridges = regexp.MustCompile(`^(docker|br-[0-9a-f]{12}$|virbr|lxc|podman|cni|veth|vnet|tap)`)

// detect looks at this machine. Files are read below a root.
func detect(h hostfs.Root) (*box, error) {
	b := &box{}
	cfg, err := config.Parse(gateway.DefaultFile, nil)
	if err != nil {
		return nil, err
	}
	defaults, err := policy.WANDefaults(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the WAN's default route: %w", err)
	}
	b.wan = policy.LinksOf(defaults)
	_, err = resolvers.Find(cfg)
	b.resolvers = err == nil // without any, public ones are written
	if err := b.detectLinks(); err != nil {
		return nil, err
	}
	b.detectTunnelFiles(h)
	b.port53 = ports.Holders(53)
	b.detectFirewalls(h)
	b.detectLocalNames(h)
	for process, note := range map[string]string{
		"systemd-resolve": "systemd-resolved is running; its stub can stay on 127.0.0.53",
		"NetworkManager":  "NetworkManager is running; it leaves nameroute's interfaces and rules alone",
		"systemd-network": "systemd-networkd is running; `nameroute check` says how to configure it",
	} {
		if h.Runs(process) {
			b.notes = append(b.notes, note)
		}
	}
	slices.Sort(b.notes)
	return b, nil
}

// detectLinks sorts the interfaces into the LAN's and tunnels.
func (b *box) detectLinks() error {
	links, err := nlretry.Dump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("ip link: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		up := a.RawFlags&unix.IFF_UP != 0
		if !up || a.RawFlags&unix.IFF_LOOPBACK != 0 || a.MasterIndex != 0 || slices.Contains(b.wan, a.Name) {
			continue
		}
		switch l.Type() {
		case "wireguard":
			continue // its file says more
		case "tuntap", "tun", "ppp", "gre", "ipip", "sit", "vti", "xfrm", "l2tp", "ip6gre", "ip6tnl":
			if a.RawFlags&unix.IFF_POINTOPOINT != 0 && a.Alias == "" {
				b.tunnels = append(b.tunnels, a.Name)
			}
			continue
		}
		if virtualBridges.MatchString(a.Name) {
			continue
		}
		c := candidate{name: a.Name, bridge: l.Type() == "bridge"}
		addrs, err := nlretry.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return fmt.Errorf("ip address show dev %s: %w", a.Name, err)
		}
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok && !ip.Unmap().IsLinkLocalUnicast() {
				c.addrs = append(c.addrs, ip.Unmap())
			}
		}
		if len(c.addrs) > 0 {
			b.lan = append(b.lan, c)
		}
	}
	return nil
}

// detectTunnelFiles finds the WireGuard files of tunnels to the internet. Those of a
// server for road warriors have no endpoint, those of an office route few networks.
func (b *box) detectTunnelFiles(h hostfs.Root) {
	files := h.Glob("/etc/wireguard/*.conf")
	slices.Sort(files)
	for _, f := range files {
		conf, err := provider.Load(string(h) + f)
		if err != nil {
			first, _, _ := strings.Cut(err.Error(), "\n")
			b.notes = append(b.notes, first)
			continue
		}
		if slices.ContainsFunc(conf.Peers, func(p provider.Peer) bool {
			return !p.Endpoint.IsZero() && slices.ContainsFunc(p.AllowedIPs, func(n netip.Prefix) bool { return n.Bits() <= 1 })
		}) {
			b.wireguard = append(b.wireguard, string(h)+f)
		} else {
			b.notes = append(b.notes, f+" is no tunnel to the internet (no endpoint, or no AllowedIPs like 0.0.0.0/0)")
		}
	}
}

// detectFirewalls finds the programs that manage firewall rules.
func (b *box) detectFirewalls(h hostfs.Root) {
	if rs, err := nftsim.Read(); err == nil {
		b.firewalls = rs.Managers()
	} else {
		b.notes = append(b.notes, fmt.Sprintf("cannot read the firewall's rules: %v", err))
	}
	enabled, _ := h.Read("/etc/ufw/ufw.conf")
	for name, found := range map[string]bool{
		"firewalld": h.Runs("firewalld"), "ufw": strings.Contains("\n"+enabled, "\nENABLED=yes"),
		"nftables.service": len(h.Glob("/etc/systemd/system/*.wants/nftables.service")) > 0,
	} {
		if found && !slices.Contains(b.firewalls, name) {
			b.firewalls = append(b.firewalls, name)
		}
	}
	slices.Sort(b.firewalls)
}

// foreignInterface returns the interface of a WireGuard file, and whether it exists and
// was not made by nameroute, which then refuses it.
func foreignInterface(file string) (link string, foreign bool) {
	link = strings.TrimSuffix(path.Base(filepath.ToSlash(file)), ".conf")
	return link, check.IsForeignLink(link)
}
