package dataplane

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// system is what the controller reads of the box. The sidecar and other programs write it.
type system interface {
	// Routes returns the state of every route's routing table, by route name.
	Routes(*gateway.Config) (map[string]policy.RouteState, error)
	// Local returns the networks that are never rerouted because they are local.
	Local(egressLinks []string) ([]netip.Prefix, error)
	// WANResolvers returns the resolvers that the WAN offers.
	WANResolvers(*gateway.Config) ([]netip.AddrPort, error)
	// Counts returns what the rules of our nft table have counted.
	Counts() (firewall.Counts, error)
	// Watch calls changed whenever one of these may have changed, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// box is the system of this box.
type box struct{ watcher *resolvers.Watcher }

// newBox is called before anything is read that its Watch reports.
func newBox() box { return box{resolvers.NewWatcher()} }

func (box) Routes(cfg *gateway.Config) (map[string]policy.RouteState, error) {
	return policy.Routes(cfg)
}

func (box) Local(links []string) ([]netip.Prefix, error) { return policy.Local(links) }

func (box) WANResolvers(cfg *gateway.Config) ([]netip.AddrPort, error) {
	found, err := resolvers.Find(cfg)
	return found.Servers, err
}

func (box) Counts() (firewall.Counts, error) { return firewall.ReadCounts() }

func (b box) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { b.watcher.Run(ctx, changed) })
	defer watcher.Wait()
	defer cancel()
	return policy.Watch(ctx, func(policy.Kind) { changed() })
}

// table writes the nft table.
type table interface {
	Apply(context.Context, *nft.Table) (changes int, err error)
	CheckSets(context.Context, nft.SetPair) error
	Remove(ctx context.Context, name string) error
	Features() nft.Features
	Close() error
}

// elements learns addresses into sets.
type elements interface {
	Knows(pair *nft.SetPair, addrs []netip.Addr, need time.Duration) bool
	Holds(pair *nft.SetPair, addr netip.Addr) bool
	Learn(ctx context.Context, pair nft.SetPair, addrs []netip.Addr, need, want time.Duration) error
	Learned(nft.SetRef) []nft.Element
	Remember(context.Context, nft.SetRef, []nft.Element) error
	Doubt(pair *nft.SetPair, addr netip.Addr)
	Forget(ctx context.Context, pair nft.SetPair, addrs []netip.Addr) error
	Changes() uint64
}

// kernel is the kernel's side: *nft.Kernel, or noKernel.
type kernel interface {
	table
	elements
}

// noKernel is a kernel whose nft tables cannot be written, for one reason.
type noKernel struct{ err error }

func (n noKernel) Apply(context.Context, *nft.Table) (int, error)          { return 0, n.err }
func (n noKernel) CheckSets(context.Context, nft.SetPair) error            { return n.err }
func (n noKernel) Remove(context.Context, string) error                    { return nil }
func (n noKernel) Features() nft.Features                                  { return nft.Features{} }
func (n noKernel) Close() error                                            { return nil }
func (n noKernel) Knows(*nft.SetPair, []netip.Addr, time.Duration) bool    { return false }
func (n noKernel) Holds(*nft.SetPair, netip.Addr) bool                     { return false }
func (n noKernel) Learned(nft.SetRef) []nft.Element                        { return nil }
func (n noKernel) Doubt(*nft.SetPair, netip.Addr)                          {}
func (n noKernel) Changes() uint64                                         { return 0 }
func (n noKernel) Forget(context.Context, nft.SetPair, []netip.Addr) error { return n.err }
func (n noKernel) Remember(context.Context, nft.SetRef, []nft.Element) error {
	return n.err
}
func (n noKernel) Learn(context.Context, nft.SetPair, []netip.Addr, time.Duration, time.Duration) error {
	return n.err
}
