package dataplane

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/programs"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// system is what the controller reads of the box, and the flows that it ends. The sidecar
// and other programs write the rest.
type system interface {
	routing
	flows
	// Counts returns what the rules of our nft table have counted.
	Counts() (firewall.Counts, error)
	// Watch calls changed whenever one of these may have changed, until ctx ends.
	Watch(ctx context.Context, changed func()) error
}

// routing is where the routes lead.
type routing interface {
	// Routes returns the state of every route's routing table, by route name.
	Routes(*gateway.Config) (map[string]policy.RouteState, error)
	// Local returns what is never rerouted because it is local.
	Local(*gateway.Config) (policy.Local, error)
	// Programs returns the programs of the box that are of each class, by the class's name.
	Programs([]gateway.Clients) map[string]gateway.Programs
	// Resolvers returns the resolvers of the routes without a provider's file, by route name,
	// and why the WAN has none.
	Resolvers(*gateway.Config, map[string]policy.RouteState) (map[string]resolvers.Found, error)
}

// flows are those that conntrack knows.
type flows interface {
	// Flows calls do for each flow with a mark, and may miss some or repeat some.
	Flows(of gateway.Mark, do func(conntrack.Flow)) error
	// DeleteFlows deletes the chosen flows of those with a mark, and returns them.
	DeleteFlows(of gateway.Mark, chosen func(conntrack.Flow) bool) ([]conntrack.Flow, error)
}

// box is the system of this box.
type box struct{ watcher *resolvers.Watcher }

// newBox is called before anything is read that its Watch reports.
func newBox() box { return box{resolvers.NewWatcher()} }

func (box) Routes(cfg *gateway.Config) (map[string]policy.RouteState, error) {
	return policy.Routes(cfg)
}

func (box) Local(cfg *gateway.Config) (policy.Local, error) { return policy.LocalNetworks(cfg) }

func (box) Programs(classes []gateway.Clients) map[string]gateway.Programs {
	return programs.Find(classes)
}

func (box) Resolvers(cfg *gateway.Config, seen map[string]policy.RouteState) (map[string]resolvers.Found, error) {
	return resolvers.All(cfg, seen)
}

func (box) Counts() (firewall.Counts, error) { return firewall.ReadCounts() }

func (box) Flows(of gateway.Mark, do func(conntrack.Flow)) error { return conntrack.Walk(of, do) }

func (box) DeleteFlows(of gateway.Mark, chosen func(conntrack.Flow) bool) ([]conntrack.Flow, error) {
	return conntrack.Delete(of, chosen)
}

func (b box) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { b.watcher.Run(ctx, changed) })
	defer watcher.Wait()
	defer cancel()
	return policy.Watch(ctx, func(policy.Kind) { changed() })
}

// kernel is the kernel's side: *learned.Store, or noKernel.
type kernel interface {
	table
	learning
	prolonging
	moving
	learnedAddresses
	storing
	Features() nft.Features
	Close() error
}

// table writes the nft table.
type table interface {
	Apply(context.Context, *nft.Table) (changes int, err error)
	CheckSets(context.Context, nft.SetPair) error
	Remove(context.Context) error
}

// learning puts the addresses of answers into sets.
type learning interface {
	Missing(pair *nft.SetPair, addrs []netip.Addr, need time.Duration) []netip.Addr
	Ensured(pair *nft.SetPair, name string, addrs []netip.Addr, need time.Duration) bool
	Ensure(ctx context.Context, pair *nft.SetPair, name string, addrs []netip.Addr, need, want time.Duration) error
}

// prolonging gives addresses in use more time.
type prolonging interface {
	Crowded(pair *nft.SetPair) bool
	Ending(pair nft.SetPair, within, most time.Duration) map[netip.Addr]bool
	Prolong(ctx context.Context, pair nft.SetPair, addrs []netip.Addr, want time.Duration) error
}

// moving follows the lists: addresses leave a set, or go to another route's.
type moving interface {
	Prune(ctx context.Context, pair nft.SetPair, listed func(name string) bool) (n int, err error)
	Move(ctx context.Context, from nft.SetPair, to func(names []string) *nft.SetPair) (n int, err error)
}

// learnedAddresses tells what is in the sets.
type learnedAddresses interface {
	Learned(nft.SetRef) []nft.Element
	Names(nft.SetRef, netip.Addr) []string
	Fact(nft.SetRef, netip.Addr) (learned.Fact, bool)
	Changes() uint64
}

// storing keeps it over a reboot.
type storing interface {
	Load(ctx context.Context, file string, pairs func(route string) (nft.SetPair, bool), most time.Duration) error
	Save(file string, routes map[string]nft.SetPair, names bool) error
}

// noKernel is a kernel whose nft tables cannot be written, for one reason.
type noKernel struct{ err error }

func (n noKernel) Apply(context.Context, *nft.Table) (int, error) { return 0, n.err }
func (n noKernel) CheckSets(context.Context, nft.SetPair) error   { return n.err }
func (n noKernel) Remove(context.Context) error                   { return nil }
func (n noKernel) Features() nft.Features                         { return nft.Features{} }
func (n noKernel) Close() error                                   { return nil }
func (n noKernel) Learned(nft.SetRef) []nft.Element               { return nil }
func (n noKernel) Changes() uint64                                { return 0 }
func (n noKernel) Missing(_ *nft.SetPair, addrs []netip.Addr, _ time.Duration) []netip.Addr {
	return addrs
}
func (n noKernel) Ensured(*nft.SetPair, string, []netip.Addr, time.Duration) bool { return false }
func (n noKernel) Ensure(context.Context, *nft.SetPair, string, []netip.Addr, time.Duration, time.Duration) error {
	return n.err
}
func (n noKernel) Crowded(*nft.SetPair) bool { return false }
func (n noKernel) Prune(context.Context, nft.SetPair, func(string) bool) (int, error) {
	return 0, n.err
}
func (n noKernel) Ending(nft.SetPair, time.Duration, time.Duration) map[netip.Addr]bool {
	return nil
}
func (n noKernel) Prolong(context.Context, nft.SetPair, []netip.Addr, time.Duration) error {
	return n.err
}
func (n noKernel) Move(context.Context, nft.SetPair, func([]string) *nft.SetPair) (int, error) {
	return 0, n.err
}
func (n noKernel) Names(nft.SetRef, netip.Addr) []string                 { return nil }
func (n noKernel) Fact(nft.SetRef, netip.Addr) (f learned.Fact, ok bool) { return f, false }
func (n noKernel) Load(context.Context, string, func(string) (nft.SetPair, bool), time.Duration) error {
	return n.err
}
func (n noKernel) Save(string, map[string]nft.SetPair, bool) error { return n.err }
