package check

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/gateway/provider"
)

// checkDefault says what takes what no list names, and finds blocks that ask for its names
// another way, and the servers that the box's default route hinders.
func checkDefault(cfg *gateway.Config, core *corefile.File, r *report) {
	clients, forClients := cfg.ClientsDefault()
	box, forBox := cfg.BoxDefault()
	checkUnbound(cfg, core, r)
	switch {
	case !forClients && !forBox:
		return
	case clients.Name == box.Name:
		r.ok("default: what no list names takes route %s, of clients and of this box", clients.Name)
	case forClients && forBox:
		r.ok("default: what no list names takes route %s, and route %s of this box", clients.Name, box.Name)
	case forClients:
		r.ok("default: what no list names takes route %s, and the WAN of this box", clients.Name)
	default:
		r.ok("default: what no list names takes the WAN, and route %s of this box", box.Name)
	}
	if forClients && core != nil {
		for _, b := range core.Blocks {
			checkAsked(b, clients.Name, r)
		}
	}
}

// checkUnbound finds servers whose answers would have another address than was asked.
func checkUnbound(cfg *gateway.Config, core *corefile.File, r *report) {
	ports := unboundUDP(cfg, core)
	if len(ports) == 0 {
		return
	}
	who := "servers of this box on UDP " + strings.Join(ports, ", ") + " of all addresses"
	if box, ok := cfg.BoxDefault(); ok {
		r.warn("default: %s answer what comes in by the WAN from the address of route %s, unless they use IP_PKTINFO: bind them to the WAN's address, or use `default: {clients: %s, box: wan}`", who, box.Name, box.Name)
	} else if len(cfg.WANUplinks) > 1 {
		r.warn("wan: %s answer what comes in by any of its interfaces from the address of the one in use, unless they use IP_PKTINFO: bind them to an address each", who)
	}
}

// checkAsked finds a block whose names are queried via the WAN, while packets to them take the
// clients' default route.
func checkAsked(b corefile.Block, route string, r *report) {
	u := b.Upstream
	switch {
	case u == nil || u.Route != gateway.WAN || b.Route != nil || b.Clients != nil || !slices.ContainsFunc(b.Zones, isRoot):
	case b.Listed != nil:
		r.warn("%s:%d: names of this block are asked by the WAN, and packets to them take route %s, but for what is in prefixes: of wan: write `route wan` into the block", u.File, u.Line, route)
	default:
		r.warn("%s:%d: names of no list are asked by the WAN, and packets to them take route %s: the WAN sees every name, and its resolver may answer with addresses near it: want `upstream %s`", u.File, u.Line, route, route)
	}
}

func isRoot(z corefile.Zone) bool { return z.Name == "." }

// unboundUDP returns the ports of UDP servers on all addresses: below those that the kernel
// gives to clients, and without ours, tunnels, DNS and DHCP, which know what they are asked at.
func unboundUDP(cfg *gateway.Config, core *corefile.File) (ports []string) {
	known := []string{"53", "67", "68", "546", "547", "5353"}
	for _, l := range listenersOf(core) {
		known = append(known, strconv.Itoa(int(l.Port)))
	}
	for _, route := range cfg.Routes {
		if conf, err := provider.Load(route.Egress.File); err == nil { // else it is none, or checkProviders reports it
			known = append(known, strconv.Itoa(int(conf.ListenPort)))
		}
	}
	first := 32768
	if data, err := statefile.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		fmt.Sscan(string(data), &first)
	}
	for _, name := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		f, err := statefile.Open(name)
		if err != nil {
			continue // without the family
		}
		for in := bufio.NewScanner(f); in.Scan(); {
			words := strings.Fields(in.Text())
			if len(words) < 3 {
				continue
			}
			address, hex, _ := strings.Cut(words[1], ":")
			port, err := strconv.ParseUint(hex, 16, 16)
			if err != nil || strings.Trim(address, "0") != "" || !strings.HasSuffix(words[2], ":0000") || int(port) >= first {
				continue
			}
			text := strconv.Itoa(int(port))
			if !slices.Contains(known, text) && !slices.Contains(ports, text) {
				ports = append(ports, text)
			}
		}
		f.Close()
	}
	slices.Sort(ports)
	return ports
}
