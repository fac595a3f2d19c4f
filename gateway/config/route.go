package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// routeReader reads one route. What depends on other routes is checked later.
type routeReader struct {
	gateway.Route
	r   *reader
	key string // routes.NAME
	via string // interface:

	group    gateway.Group // egress:, and what belongs to it
	weighted bool          // its members have weights
}

func (c *builder) readRoutes(v value) {
	v.named("names of routes, each with its keys", func(name string, v value) {
		if name == gateway.WAN {
			c.readWANTakes(v)
			return
		}
		if gateway.Reserved(name) {
			v.r.problem(v.key, "", "reserved name", "want another")
			return
		}
		rr := &routeReader{r: v.r, key: v.key, Route: gateway.Route{Name: name, OnDown: gateway.Block, SNAT: gateway.SNAT{Mode: gateway.SNATAuto}}}
		rr.Handshake = gateway.Handshake{Timeout: gateway.DefaultHandshakeTimeout, Limit: gateway.DefaultHandshakeLimit, Probe: gateway.DefaultHandshakeProbe}
		v.fields(rr.fields())
		if v.isMapping() {
			rr.egress()
			rr.probing()
			if rr.Egress.Kind == gateway.EgressGroup {
				rr.finishGroup()
			}
		}
		c.Routes = append(c.Routes, rr.Route)
	})
}

// Keys of the egress, of which a route has exactly one; interface may go with next_hop.
const (
	keyWireGuard = "wireguard"
	keyInterface = "interface"
	keyNextHop   = "next_hop"
)

// keyInbound is only for tunnels that nameroute makes: the firewall of the box does not
// know them.
const keyInbound = "inbound"

// Keys of a tunnel's handshakes.
const (
	keyTimeout = "handshake_timeout"
	keyLimit   = "handshake_limit"
	keyProbe   = "handshake_probe"
)

const (
	wantConf = "want the path of the provider's .conf file"
	wantLink = "want the name of an interface"
	wantHops = "want an address, or one of each family"
	wantSNAT = "want auto, off, none, masquerade, an address, or one of each family"
)

func (rr *routeReader) fields() []field {
	return slices.Concat([]field{
		{key: keyWireGuard, want: wantConf, read: func(v value) { set(&rr.Egress.File)(v.path(wantConf)) }},
		{key: keyInterface, want: wantLink, read: func(v value) { set(&rr.via)(v.link()) }},
		{key: keyNextHop, want: wantHops, read: func(v value) { rr.Egress.NextHops = v.pair(wantHops) }},
		{key: "link", read: func(v value) { set(&rr.Egress.Link)(v.link()) }},
		{key: "on_down", read: func(v value) {
			word, ok := v.word(string(gateway.Block), string(gateway.FallBack))
			set(&rr.OnDown)(gateway.OnDown(word), ok)
		}},
		{key: "mark", read: rr.readMark},
		{key: "table", read: rr.readTable},
		{key: "priority", read: func(v value) { set(&rr.Priority)(v.number(1, lastPriority)) }},
		{key: "mtu", read: rr.readMTU},
		{key: keyPrefixes, read: rr.readPrefixes},
		{key: keyClients, read: rr.readRouteClients},
		{key: keyMatch, want: wantMatch, read: rr.readMatch},
		{key: "private", read: func(v value) {
			word, ok := v.word("refuse", "learn")
			set(&rr.LearnPrivate)(word == "learn", ok)
		}},
		{key: "snat", read: rr.readSNAT},
		{key: "evict", read: func(v value) {
			word, ok := v.word("true", "false")
			set(&rr.Evict)(word == "true", ok)
		}},
		{key: keyInbound, read: func(v value) {
			word, ok := v.word("refuse", "accept")
			set(&rr.AcceptInbound)(word == "accept", ok)
		}},
		{key: keyTimeout, read: func(v value) {
			set(&rr.Handshake.Timeout)(v.durationIn(gateway.MinHandshakeTimeout, gateway.MaxHandshake))
		}},
		{key: keyLimit, read: func(v value) {
			set(&rr.Handshake.Limit)(v.durationIn(gateway.MinHandshakeLimit, gateway.MaxHandshake))
		}},
		{key: keyProbe, read: rr.readProbe},
		{key: "hooks", read: func(v value) {
			word, ok := v.word("refuse", "ignore")
			set(&rr.IgnoreHooks)(word == "ignore", ok)
		}},
	}, rr.groupFields(), rr.probingFields())
}

// readMark stores the value: the mask may not have been read yet.
func (rr *routeReader) readMark(v value) {
	const want = "want a number such as 0x51000000"
	n, ok := v.unsigned(want)
	switch {
	case !ok:
	case n == 0:
		v.problem("is the mark of unmarked packets", "")
	case n > 0xffffffff:
		v.problem("out of range", "want at most 32 bits")
	default:
		rr.Mark.Value = uint32(n)
	}
}

func (rr *routeReader) readTable(v value) {
	n, ok := v.number(1, maxTable)
	kernels := map[int]string{253: "default", 254: "main", 255: "local"}
	if name, taken := kernels[n]; ok && taken {
		v.problem("is the kernel's table "+name, "want a table of the route's own")
		return
	}
	set(&rr.Table)(n, ok)
}

// readProbe reads off or a time.
func (rr *routeReader) readProbe(v value) {
	if v.node.Value == "off" {
		rr.Handshake.Probe = 0
		return
	}
	set(&rr.Handshake.Probe)(v.durationIn(gateway.MinHandshakeProbe, gateway.MaxHandshake))
}

// readMTU requires at least what IPv4 must carry (RFC 791). Below what IPv6 must carry
// (RFC 8200 section 5) the kernel removes IPv6 from the interface.
func (rr *routeReader) readMTU(v value) {
	n, ok := v.number(minMTU, maxMTU)
	if ok && n < minMTU6 {
		rr.r.note(v.key, v.shown(), "disables IPv6 on the route", fmt.Sprintf("want at least %d", minMTU6))
	}
	set(&rr.MTU)(n, ok)
}

func (rr *routeReader) readSNAT(v value) {
	modes := []string{string(gateway.SNATAuto), string(gateway.SNATOff), string(gateway.SNATNone), string(gateway.SNATMasquerade)}
	if slices.Contains(modes, v.node.Value) {
		rr.SNAT.Mode = gateway.SNATMode(v.node.Value)
		return
	}
	if near := problem.Nearest(v.node.Value, modes); near != "" {
		v.problem("unknown value", "did you mean "+near+"?")
		return
	}
	rr.SNAT = gateway.SNAT{Mode: gateway.SNATTo, Addrs: v.pair(wantSNAT)}
}

// egress derives the egress from the keys that were given, and reports those that
// contradict each other.
func (rr *routeReader) egress() {
	wireguard, via, hop := rr.has(keyWireGuard), rr.has(keyInterface), rr.has(keyNextHop)
	switch {
	case rr.has(keyEgress):
		rr.Egress.Kind = gateway.EgressGroup
		for _, key := range []string{keyWireGuard, keyInterface, keyNextHop, "link", "hooks", keyInbound, "mtu", "snat", keyTimeout, keyLimit, keyProbe} {
			if rr.has(key) {
				rr.r.problem(rr.key+"."+key, "", "the route's egress is other routes", "want it on them")
			}
		}
		rr.Handshake, rr.SNAT = gateway.Handshake{}, gateway.SNAT{}
		return
	case wireguard:
		rr.Egress.Kind = gateway.EgressWireGuard
		rr.tunnelLink()
	case hop:
		rr.Egress.Kind = gateway.EgressNextHop
	case via:
		rr.Egress.Kind = gateway.EgressInterface
	default:
		rr.r.problem(rr.key, "", "has no egress", "want one of wireguard, interface, next_hop or egress")
	}
	for _, key := range []string{keyInterface, keyNextHop} {
		if wireguard && rr.has(key) {
			rr.r.problem(rr.key+"."+key, "", "the route has wireguard already", "want one of the two")
		}
	}
	for _, key := range []string{keyPolicy, keyHold, keyMove} {
		if rr.has(key) {
			rr.r.problem(rr.key+"."+key, "", "only valid with egress", "")
		}
	}
	for _, key := range []string{"link", "hooks", keyInbound, keyTimeout, keyLimit, keyProbe} {
		if !wireguard && rr.has(key) {
			rr.r.problem(rr.key+"."+key, "", "only valid with wireguard", "")
		}
	}
	if !wireguard {
		if rr.AllowedIPs {
			rr.r.problem(rr.key+".prefixes", allowedIPs, "only valid with wireguard", "want names of lists")
		}
		for _, p := range rr.Probing.Probes {
			if p.Kind == gateway.ProbeHandshake {
				rr.r.problem(rr.key+"."+keyProbes, string(p.Kind), "only valid with wireguard", "want ping, tcp, http or dns")
			}
		}
		rr.Handshake = gateway.Handshake{}
		rr.Egress.Link = rr.via
	}
	for _, a := range rr.Egress.NextHops {
		if a.Is6() && a.IsLinkLocalUnicast() && !via {
			rr.r.problem(rr.key+"."+keyNextHop, a.String(), "link-local next hop without an interface", "want interface: as well")
		}
	}
}

// tunnelLink names the interface after the file, as wg-quick does, unless link is given.
func (rr *routeReader) tunnelLink() {
	if rr.has("link") || rr.Egress.File == "" {
		return
	}
	name := strings.TrimSuffix(filepath.Base(rr.Egress.File), ".conf")
	if why, _ := badLink(name); why != "" || name == "" {
		want := "want link: with a name of at most 15 bytes"
		if len(rr.Name) <= gateway.MaxInterfaceName {
			want = "want link: " + rr.Name
		}
		rr.r.problem(rr.key+"."+keyWireGuard, name, "the file's name is not a valid interface name", want)
		return
	}
	rr.Egress.Link = name
}

func (rr *routeReader) has(key string) bool { return rr.r.given(rr.key + "." + key) }
