package sidecar

import (
	"context"
	"fmt"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/probe"
	"github.com/nameroute/nameroute/gateway/wg"
)

// system is the operating system as the controller sees it. Tests have one of their own.
type system struct {
	kernel      kernel
	routing     routing
	devices     devices
	close       func()                                         // ends the use of kernel and routing
	watch       func(context.Context, func(policy.Kind)) error // policy.Watch
	deleteFlows func(gateway.Mark) (n int, err error)          // conntrack entries of the route with this mark
	cutFlows    func(member, group gateway.Mark) (n int, err error)
	prober      func(deliver func(group.Result)) prober
}

// kernel tells how packets are routed: *policy.Kernel.
type kernel interface {
	Read(*gateway.Config) (policy.Snapshot, error)
	Diversions(*gateway.Config) ([]policy.Diversion, error)
}

// routing changes it: *policy.Kernel, too.
type routing interface {
	Apply(have, want policy.State) (changes []string, err error)
	Forward(links ...string) (changes []string, err error)
	Remove() (changes []string, err error)
}

// devices are the WireGuard interfaces of ours.
type devices interface {
	Open(link string, o wg.Options) (*openDevice, error)
	Links() ([]wg.Link, error)
	Remove(link string) error
}

// openDevice is one that is open.
type openDevice struct {
	device
	handshakes
	gone <-chan struct{} // closed when its interface has been removed
}

// device is its configuration and its counters: *wg.Tunnel.
type device interface {
	Apply(wg.Want) (changes []string, err error)
	Status() (wg.Status, error)
	Close()
}

// handshakes are how it reaches its peers: *wg.Tunnel, too.
type handshakes interface {
	KeepTrying(on bool) error
	ResetEndpoints()
}

func openSystem(state string) (system, error) {
	k, err := policy.Open(state)
	if err != nil {
		return system{}, fmt.Errorf("sidecar: %w", err)
	}
	return system{kernel: k, routing: k, devices: wireguard{}, close: k.Close, watch: policy.Watch, deleteFlows: deleteFlows, cutFlows: cutFlows, prober: newProber}, nil
}

func newProber(deliver func(group.Result)) prober { return probe.New(deliver) }

// wireguard are the devices of the kernel.
type wireguard struct{}

func (wireguard) Open(link string, o wg.Options) (*openDevice, error) {
	t, err := wg.Open(link, o)
	if err != nil {
		return nil, err
	}
	return &openDevice{device: t, handshakes: t, gone: t.Gone()}, nil
}

func (wireguard) Links() ([]wg.Link, error) { return wg.Links() }

func (wireguard) Remove(link string) error { return wg.Remove(link) }

// deleteFlows deletes a route's flows. Other programs write ct marks, and no labels.
func deleteFlows(m gateway.Mark) (int, error) {
	number := gateway.Mask(m.Mask).Number(m.Value)
	deleted, err := conntrack.Delete(gateway.Mark{}, func(f conntrack.Flow) bool {
		return m.Matches(f.Mark) || number != gateway.WANLabel && f.Labelled(number)
	})
	return len(deleted), err
}

// cutFlows deletes the flows that a group has given to a member; where the kernel has no
// labels, all of the member. Those that the WAN has given to one of its interfaces lack its
// label, which what came in by that has.
func cutFlows(member, group gateway.Mark) (int, error) {
	number := gateway.Mask(group.Mask).Number(group.Value)
	wan, other := group.Value == group.Mask, member != group
	deleted, err := conntrack.Delete(member, func(f conntrack.Flow) bool {
		if wan && other {
			return !f.Labelled(gateway.WANLabel)
		}
		return wan || f.Labelled(number) || !f.Routed()
	})
	return len(deleted), err
}
