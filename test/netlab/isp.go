//go:build linux

package netlab

import (
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// ISP is the router that the box's WAN is connected to, with a tap on that link.
type ISP struct {
	*Host
	Tap *wire.Tap // of the link to wan0

	more []*wire.Tap // of further uplinks
}

// FromBox is the packets that the box sent via the WAN, whichever uplink that is.
func (i *ISP) FromBox(filters ...wire.Filter) []wire.Packet {
	i.t.Helper()
	filters = append([]wire.Filter{wire.Went(wire.In)}, filters...)
	all := i.Tap.Packets(filters...)
	for _, tap := range i.more {
		all = append(all, tap.Packets(filters...)...)
	}
	return all
}

// Clear is the packets that the box sent to internet hosts in the clear, that is via
// the WAN and not inside a tunnel: what every leak test counts.
func (i *ISP) Clear(filters ...wire.Filter) []wire.Packet {
	i.t.Helper()
	return i.FromBox(append([]wire.Filter{wire.ToPrefix(i.lab.Plan.Internet...)}, filters...)...)
}

// Encrypted is the packets that the box sent to the providers' endpoints.
func (i *ISP) Encrypted(filters ...wire.Filter) []wire.Packet {
	i.t.Helper()
	return i.FromBox(append([]wire.Filter{i.toEndpoint}, filters...)...)
}

func (i *ISP) toEndpoint(p wire.Packet) bool {
	for _, tunnel := range i.lab.Tunnels {
		if p.Proto == unix.IPPROTO_UDP && p.Dst.Port() == tunnel.Port && tunnel.Endpoint.Has(p.Dst.Addr()) {
			return true
		}
	}
	return false
}

// Foreign is the packets that the box sent via the WAN with a source address that is
// not the WAN's own: what was routed wrongly, or not translated. Link-local
// addresses belong to the link and are left out.
func (i *ISP) Foreign(filters ...wire.Filter) []wire.Packet {
	i.t.Helper()
	own := func(p wire.Packet) bool {
		from := p.Src.Addr()
		return within(i.lab.WAN, from) || from.IsLinkLocalUnicast() || from.IsUnspecified()
	}
	return i.FromBox(append([]wire.Filter{wire.Not(own)}, filters...)...)
}
