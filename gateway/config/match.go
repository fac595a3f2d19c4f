package config

import (
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

// Keys of a route's `match:`.
const (
	keyMatch = "match"
	keyProto = "proto"
	keyPorts = "ports"
)

const (
	wantMatch = "want {proto: tcp, ports: [80, 443]}"
	wantProto = "want tcp, udp, a protocol number, or a list of them"
	wantPorts = "want ports and ranges, such as [443, 8000-8999]"
	maxPorts  = 32 // each is a rule for each set
)

// readMatch reads the packets that a route is narrowed to. Ports alone are those of TCP and UDP.
func (rr *routeReader) readMatch(v value) {
	if !v.isMapping() || len(v.node.Content) == 0 {
		v.problem("matches nothing", wantMatch)
		return
	}
	m := &gateway.Match{}
	before := len(v.r.problems)
	v.fields(matchFields(m))
	if len(v.r.problems) > before {
		return
	}
	if len(m.Protocols) == 0 {
		m.Protocols = []uint8{gateway.ProtoTCP, gateway.ProtoUDP}
	}
	withPorts := []uint8{gateway.ProtoTCP, gateway.ProtoUDP, 33, 132, 136} // DCCP, SCTP, UDP-Lite
	for _, p := range m.Protocols {
		if len(m.Ports) > 0 && !slices.Contains(withPorts, p) {
			v.r.problem(v.key+"."+keyPorts, "", "protocol "+gateway.ProtocolName(p)+" has no ports", "want it in a route of its own")
			return
		}
	}
	rr.Match = m
}

func matchFields(m *gateway.Match) []field {
	return []field{
		{key: keyProto, want: wantProto, read: func(v value) { m.Protocols = v.protocols() }},
		{key: keyPorts, want: wantPorts, read: func(v value) { m.Ports = v.ports() }},
	}
}

func (v value) protocols() (all []uint8) {
	for _, item := range v.items(wantProto) {
		text, ok := item.text(wantProto)
		if !ok {
			continue
		}
		switch number, known := gateway.ParseProtocol(text); {
		case !known:
			item.problem("not a protocol", wantProto)
		default:
			addOnce(&all, item, number)
		}
	}
	return all
}

func (v value) ports() (all []gateway.PortRange) {
	items := v.items(wantPorts)
	if len(items) > maxPorts {
		v.problem(fmt.Sprintf("%d ports and ranges", len(items)), fmt.Sprintf("want at most %d", maxPorts))
		return nil
	}
	for _, item := range items {
		text, ok := item.text(wantPorts)
		if !ok {
			continue
		}
		switch p, known := gateway.ParsePortRange(text); {
		case !known:
			item.problem("not a port or a range of ports", wantPorts)
		case slices.ContainsFunc(all, func(o gateway.PortRange) bool { return p.From <= o.To && o.From <= p.To }):
			item.problem("is there already", "")
		default:
			all = append(all, p)
		}
	}
	return all
}

// matchNode prints a match.
func matchNode(m *gateway.Match) any {
	var protocols, ports []string
	for _, p := range m.Protocols {
		protocols = append(protocols, gateway.ProtocolName(p))
	}
	for _, p := range m.Ports {
		ports = append(ports, p.String())
	}
	if len(ports) == 0 {
		return yamlnode.Mapping(keyProto, yamlnode.Flow(protocols))
	}
	return yamlnode.Mapping(keyProto, yamlnode.Flow(protocols), keyPorts, yamlnode.Flow(ports))
}
