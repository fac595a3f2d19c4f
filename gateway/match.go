package gateway

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Match narrows a route to packets of some protocols and ports (`match:`). What else goes to
// the route's addresses is not the route's.
type Match struct {
	Protocols []uint8     // of IP, by their numbers
	Ports     []PortRange // destination ports of TCP, UDP and others that have some; none: all
}

// PortRange is a range of ports.
type PortRange struct{ From, To uint16 }

// String prints the range as nft(8) does.
func (p PortRange) String() string {
	if p.From == p.To {
		return strconv.Itoa(int(p.From))
	}
	return fmt.Sprintf("%d-%d", p.From, p.To)
}

// ParsePortRange reads a port or a range of ports, such as 8000-8999; false if it is neither.
func ParsePortRange(text string) (PortRange, bool) {
	from, to, ranged := strings.Cut(text, "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(from, 10, 16)
	last, err2 := strconv.ParseUint(to, 10, 16)
	return PortRange{From: uint16(first), To: uint16(last)}, err == nil && err2 == nil && first > 0 && first <= last
}

// Protocol numbers that have names in gateway.yaml.
const (
	ProtoTCP = 6
	ProtoUDP = 17
)

// ProtocolName returns the name of a protocol, or its number.
func ProtocolName(n uint8) string {
	switch n {
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	}
	return strconv.Itoa(int(n))
}

// ParseProtocol reads the name or number of a protocol; false if it is neither.
func ParseProtocol(text string) (uint8, bool) {
	switch text {
	case "tcp":
		return ProtoTCP, true
	case "udp":
		return ProtoUDP, true
	}
	n, err := strconv.ParseUint(text, 10, 8)
	return uint8(n), err == nil && n > 0
}

// Holds reports whether packets of a protocol to a port match; nil matches all.
func (m *Match) Holds(protocol uint8, port uint16) bool {
	if m == nil {
		return true
	}
	within := func(r PortRange) bool { return r.From <= port && port <= r.To }
	return slices.Contains(m.Protocols, protocol) && (len(m.Ports) == 0 || slices.ContainsFunc(m.Ports, within))
}

// String prints the match in the words of gateway.yaml, such as "tcp 80,443".
func (m *Match) String() string {
	var protocols, ports []string
	for _, p := range m.Protocols {
		protocols = append(protocols, ProtocolName(p))
	}
	for _, p := range m.Ports {
		ports = append(ports, p.String())
	}
	return strings.TrimSpace(strings.Join(protocols, ",") + " " + strings.Join(ports, ","))
}
