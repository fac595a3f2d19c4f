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

// Endpoints returns where the root zone is answered, once all setups have run.
func Endpoints(ctx caddy.Context) ([]Endpoint, error) {
	zones, err := readZones(ctx, func(uintptr) []string { return nil })
	if err != nil {
		return nil, err
	}
	var all []Endpoint
	for _, z := range zones {
		port, err := strconv.ParseUint(z.port, 10, 16)
		if z.name != "." || err != nil {
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
