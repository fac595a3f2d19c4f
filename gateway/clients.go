package gateway

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Clients is a class of clients with routes and names of its own. A packet is of the class
// where any of its matches holds. The queries of the class have listeners of their own, to
// which the very same match redirects them, so that names and packets never disagree.
type Clients struct {
	Name     string
	Prefixes []netip.Prefix // source addresses
	MACs     []MAC          // source addresses on the link; a client behind another router has that router's
	Links    []string       // interfaces that they come in by

	// Programs of the box itself.
	Users   []string // names or numbers
	Groups  []string // likewise; primary groups
	Cgroups []string // paths below the root of cgroup2, such as system.slice/restic.service

	Route string // takes all that the class sends; "": its packets are classified as others are
}

// Programs are the users, groups and cgroups of a class at one moment.
type Programs struct {
	UIDs    []uint32
	GIDs    []uint32
	Cgroups []Cgroup
	Missing []string // what is not there now, and why
}

// Cgroup is a cgroup that exists.
type Cgroup struct {
	Path  string
	ID    uint64
	Level int // below the root of cgroup2
}

// HasPrograms reports whether programs of the box are of the class.
func (c Clients) HasPrograms() bool { return len(c.Users)+len(c.Groups)+len(c.Cgroups) > 0 }

// HasClients reports whether clients of lan are of the class.
func (c Clients) HasClients() bool { return len(c.Prefixes)+len(c.MACs)+len(c.Links) > 0 }

// MAC is a 48-bit link-layer address.
type MAC [6]byte

// ParseMAC reads six bytes in hex, with colons or hyphens between them.
func ParseMAC(s string) (m MAC, ok bool) {
	parts := strings.FieldsFunc(s, func(c rune) bool { return c == ':' || c == '-' })
	if len(parts) != len(m) || len(s) != 3*len(m)-1 {
		return MAC{}, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil {
			return MAC{}, false
		}
		m[i] = byte(n)
	}
	return m, true
}

// String prints the address as ip(8) does.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// ClassPorts are the ports of plain DNS and of DNS over TLS and HTTPS, the queries to which
// are redirected to a class's own listeners.
var ClassPorts = [...]uint16{53, 853, 443}

// The ports of the listeners of classes: of 2,000 classes three each.
const (
	firstClassPort = 20000
	classPorts     = 2000
)

// ClassPort returns the port of a class's own listener in place of another port, from the
// class's name alone; 0 where that is none of ClassPorts.
func ClassPort(class string, port uint16) uint16 {
	i := slices.Index(ClassPorts[:], port)
	if i < 0 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(class)) // never fails
	return firstClassPort + uint16(h.Sum32()%classPorts)*uint16(len(ClassPorts)) + uint16(i)
}

// ServesClass reports whether packets of a class may take the route: those of its own
// classes only, or of everybody where it names none.
func (r Route) ServesClass(class string) bool {
	return len(r.Clients) == 0 || slices.Contains(r.Clients, class)
}
