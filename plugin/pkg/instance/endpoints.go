package instance

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/plugin/pkg/bindaddr"
)

// Endpoint is where all names are answered over one transport.
type Endpoint struct {
	Transport string // dns, tls, https, https3, quic, grpc
	Port      uint16
	Addrs     []netip.Addr // that it listens on; none: all
}

// On reports whether the endpoint is at an address of this machine.
func (e Endpoint) On(a netip.Addr) bool { return len(e.Addrs) == 0 || slices.Contains(e.Addrs, a) }

// Endpoints returns where the root zone is answered, once all setups have run. The
// listeners of classes of clients are not among them: queries to the others reach those.
func Endpoints(c *caddy.Controller) ([]Endpoint, error) {
	zones, err := readZones(c.Context(), func(uintptr) *Block { return &Block{} })
	if err != nil {
		return nil, err
	}
	classes := classesIn(c)
	var all []Endpoint
	for _, z := range zones {
		port, err := strconv.ParseUint(z.port, 10, 16)
		if z.name != "." || err != nil {
			continue
		}
		if class, _ := ownListener(classes, uint16(port)); class != "" {
			continue
		}
		e := Endpoint{Transport: z.transport, Port: uint16(port)}
		anywhere := false
		for _, host := range z.hosts {
			switch a := listenAddr(host); {
			case host == bindaddr.Nowhere:
			case !a.IsValid():
				anywhere = true
			default:
				e.Addrs = append(e.Addrs, a.Unmap())
			}
		}
		if anywhere {
			e.Addrs = nil
		} else if len(e.Addrs) == 0 {
			continue
		}
		if !slices.ContainsFunc(all, func(o Endpoint) bool {
			return o.Transport == e.Transport && o.Port == e.Port && slices.Equal(o.Addrs, e.Addrs)
		}) {
			all = append(all, e)
		}
	}
	return all, nil
}

// classesIn returns the classes of clients that blocks of the Corefile are for.
func classesIn(c *caddy.Controller) (classes []string) {
	i, ok := c.Get(instanceKey(resolveConfig(""))).(*instance)
	if !ok {
		return nil
	}
	for _, b := range i.blocks {
		if b.class != "" {
			classes = append(classes, b.class)
		}
	}
	return classes
}
