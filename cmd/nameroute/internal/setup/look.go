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

// box is what `init` sees of the machine.
type box struct {
	wan       []string    // interfaces of default routes
	lan       []candidate // interfaces that may be the LAN's
	wireguard []string    // files that lead somewhere
	tunnels   []string    // interfaces of OpenVPN, ppp and others that are up and not the WAN
	port53    []string    // who holds it
	firewalls []string
	notes     []string // what is good to know
	resolvers bool     // the system names resolvers of the WAN
	leases    []string // files of DHCP servers here
	domain    string   // of their clients
}

// candidate is an interface that may be the LAN's.
type candidate struct {
	name   string
	addrs  []netip.Addr // own, without link-local ones
	bridge bool
}

// othersBridges are the LANs of containers and virtual machines.
var othersBridges = regexp.MustCompile(`^(docker|br-[0-9a-f]{12}$|virbr|lxc|podman|cni|veth|vnet|tap)`)

// lookAtBox looks at this machine. root stands before the paths of files, for tests.
func lookAtBox(h hostfs.Root) (*box, error) {
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
	b.resolvers = err == nil // it is asked for, or public ones are written
	if err := b.lookAtLinks(); err != nil {
		return nil, err
	}
	b.lookAtTunnelFiles(h)
	b.port53 = ports.Holders(53)
	b.lookAtFirewalls(h)
	b.lookAtHome(h)
	for process, note := range map[string]string{
		"systemd-resolve": "systemd-resolved runs: its stub may stay, on 127.0.0.53",
		"NetworkManager":  "NetworkManager runs: it leaves alone what nameroute makes",
		"systemd-network": "systemd-networkd runs: `nameroute check` tells what it must be told",
	} {
		if h.Runs(process) {
			b.notes = append(b.notes, note)
		}
	}
	slices.Sort(b.notes)
	return b, nil
}

// lookAtLinks sorts the interfaces: what leads out, what may be a LAN, what is a tunnel.
func (b *box) lookAtLinks() error {
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
		if othersBridges.MatchString(a.Name) {
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

// lookAtTunnelFiles takes the files that have an endpoint and route more than a few
// networks: a provider's, and not those of a server for road warriors.
func (b *box) lookAtTunnelFiles(h hostfs.Root) {
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
			b.notes = append(b.notes, f+" leads to no internet (no endpoint, or no AllowedIPs like 0.0.0.0/0)")
		}
	}
}

// lookAtFirewalls names who manages rules here.
func (b *box) lookAtFirewalls(h hostfs.Root) {
	if rs, err := nftsim.Read(); err == nil {
		b.firewalls = rs.Managers()
	} else {
		b.notes = append(b.notes, fmt.Sprintf("the firewall's rules cannot be read: %v", err))
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

// wgQuick reports whether a file's interface is up and not of our making: it would be
// refused.
func wgQuick(file string) (link string, up bool) {
	link = strings.TrimSuffix(path.Base(filepath.ToSlash(file)), ".conf")
	return link, check.IsForeignLink(link)
}
