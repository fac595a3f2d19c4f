//go:build linux

package netlab

import "golang.org/x/sys/unix"

// ISP is the router that the box's WAN is connected to, with a tap on that link.
type ISP struct {
	*Host
	Tap *Tap // of the link to wan0

	more []*Tap // of further uplinks
}

// FromBox is the packets that the box sent by the WAN, whichever uplink that is.
func (i *ISP) FromBox(filters ...Filter) []Packet {
	i.t.Helper()
	filters = append([]Filter{Went(In)}, filters...)
	all := i.Tap.Packets(filters...)
	for _, tap := range i.more {
		all = append(all, tap.Packets(filters...)...)
	}
	return all
}

// Clear is the packets that the box sent to internet hosts in the clear, that is by
// the WAN and not inside a tunnel: what every leak test counts.
func (i *ISP) Clear(filters ...Filter) []Packet {
	i.t.Helper()
	return i.FromBox(append([]Filter{ToPrefix(i.lab.Plan.Internet...)}, filters...)...)
}

// Encrypted is the packets that the box sent to the providers' endpoints.
func (i *ISP) Encrypted(filters ...Filter) []Packet {
	i.t.Helper()
	return i.FromBox(append([]Filter{i.toEndpoint}, filters...)...)
}

func (i *ISP) toEndpoint(p Packet) bool {
	for _, tunnel := range i.lab.Tunnels {
		if p.Proto == unix.IPPROTO_UDP && p.Dst.Port() == tunnel.Port && tunnel.Endpoint.Has(p.Dst.Addr()) {
			return true
		}
	}
	return false
}

// Foreign is the packets that the box sent by the WAN with a source address that is
// not the WAN's own: what was routed wrongly, or not translated. Link-local
// addresses belong to the link and are left out.
func (i *ISP) Foreign(filters ...Filter) []Packet {
	i.t.Helper()
	own := func(p Packet) bool {
		from := p.Src.Addr()
		return within(i.lab.WAN, from) || from.IsLinkLocalUnicast() || from.IsUnspecified()
	}
	return i.FromBox(append([]Filter{Not(own)}, filters...)...)
}
