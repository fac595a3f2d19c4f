// Package instance ties the plugins to CoreDNS's life cycle. CoreDNS builds the plugins of
// each instance again, starts the new instance before it ends the old one, and shows a
// plugin only its own server block; the dataplane and the aliases outlive instances.
//
// A plugin calls Attach in its setup, says what its block needs, and asks the Block for
// the dataplane in a startup function of its own. Setups read the Corefile and nothing
// else: gateway.yaml is read, and what the Corefile names is checked against it, when the
// instance starts.
package instance

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
	"github.com/nameroute/nameroute/plugin/pkg/datagram"
	"github.com/nameroute/nameroute/plugin/pkg/explain"
	"github.com/nameroute/nameroute/plugin/pkg/replay"
)

var log = clog.NewWithPlugin("nameroute")

// instance is what one CoreDNS instance needs of the dataplane of one gateway.yaml. It is
// filled by the setups and changes nothing until the instance starts.
type instance struct {
	file     string // gateway.yaml
	blocks   []*Block
	zones    []zone // of all server blocks, with ours or without; known when it starts
	noReplay bool   // no block gives answers from memory
	binding  atomic.Pointer[binding]
}

// Block is one server block of the Corefile, with what its plugins need.
type Block struct {
	instance *instance
	id       uintptr // of the server block
	config   *dnsserver.Config
	names    []name

	class   string // of clients that it is for; "": for all
	listed  bool
	lists   []string
	queries func() uint64
	uses    []use
	status  []func() []UpstreamStatus
	replay  atomic.Pointer[replay.Block] // known when the instance has started
}

// use is a directive's use of a route.
type use struct {
	route  string
	learns bool
	sets   *nft.SetPair
}

type instanceKey string // the gateway.yaml's path

// Attach returns the server block that c sets up a directive of, tied to the gateway.yaml
// that ConfigFile has read; "" is the default.
func Attach(c *caddy.Controller, file string) *Block {
	file = resolveConfig(file)
	i, ok := c.Get(instanceKey(file)).(*instance)
	if !ok {
		i = &instance{file: file}
		c.Set(instanceKey(file), i)
		c.OnStartup(func() error { return i.start(c.Context()) })
		c.OnShutdown(func() error {
			// An error here would make CoreDNS stop half way through a restart.
			if err := release(i); err != nil {
				log.Errorf("%s: %v", i.file, err)
			}
			return nil
		})
		c.OnRestartFailed(func() error { keepOnly(i); return nil })
	}
	cfg := dnsserver.GetConfig(c)
	id := reflect.ValueOf(cfg).Pointer()
	if n := slices.IndexFunc(i.blocks, func(b *Block) bool { return b.id == id }); n >= 0 {
		return i.blocks[n]
	}
	b := &Block{instance: i, id: id, config: cfg}
	b.addFirst(c, cfg)
	i.blocks = append(i.blocks, b)
	return b
}

// addFirst adds the handlers that come first in a block.
func (b *Block) addFirst(c *caddy.Controller, cfg *dnsserver.Config) {
	h := &datagram.Handler{}
	c.OnStartup(func() (err error) {
		h.Bufsize = cfg.Handler("bufsize") != nil
		h.Replay, err = b.replayOf(cfg)
		b.replay.Store(h.Replay)
		return err
	})
	cfg.Plugin = slices.Insert(cfg.Plugin, 0, plugin.Plugin(func(next plugin.Handler) plugin.Handler {
		h.Next = &explain.Handler{Next: next}
		return h
	}))
}

// Here returns the place of the directive that c reads now. It is called before the
// directive's block is read, which moves c to its end.
func Here(c *caddy.Controller) corefile.Position {
	return corefile.Position{File: c.File(), Line: c.Line()}
}

// ConfigFile parses the arguments of the property `config FILE`: a path relative to the
// block's root, as other CoreDNS plugins read theirs.
func ConfigFile(c *caddy.Controller, args []string) (string, error) {
	if len(args) != 1 {
		return "", errors.New("want one file")
	}
	if filepath.IsAbs(args[0]) {
		return args[0], nil
	}
	return filepath.Join(dnsserver.GetConfig(c).Root, args[0]), nil
}

// Clients says that the block answers only one class of clients.
func (b *Block) Clients(at corefile.Position, class string) {
	b.class = class
	b.names = append(b.names, name{"clients", "class of clients", class, at, false})
}

// Listed says that the block answers the names on the lists. queries returns how many
// queries for them were counted, for Status.
func (b *Block) Listed(at corefile.Position, lists []string, queries func() uint64) {
	b.listed, b.lists, b.queries = true, lists, queries
	for _, l := range lists {
		b.names = append(b.names, name{"listed", "list", l, at, false})
	}
}

// Learn says that the addresses in the block's answers join a route's sets: its own, or
// those of another program's nft table.
func (b *Block) Learn(at corefile.Position, route string, sets *nft.SetPair) {
	b.uses = append(b.uses, use{route, true, sets})
	b.names = append(b.names, name{"route", "route", route, at, sets != nil})
}

// Query says that the block queries resolvers via a route. status returns what is known of
// them, for Status.
func (b *Block) Query(at corefile.Position, route string, status func() []UpstreamStatus) {
	b.uses = append(b.uses, use{route: route})
	b.names = append(b.names, name{"upstream", "route", route, at, false})
	b.status = append(b.status, status)
}

// Dataplane returns the dataplane once the instance has started, nil before. Startup
// functions that were registered after Attach see it.
func (b *Block) Dataplane() *dataplane.Controller {
	if bound := b.instance.binding.Load(); bound != nil {
		return bound.dataplane
	}
	return nil
}

// Route returns the route that the block learns for, or else queries resolvers via, once the
// instance has started; nil where that is the WAN or there is none.
func (b *Block) Route() *dataplane.Route {
	d := b.Dataplane()
	i := slices.IndexFunc(b.uses, func(u use) bool { return u.learns })
	if i < 0 {
		i = slices.IndexFunc(b.uses, func(u use) bool { return u.route != gateway.WAN })
	}
	switch {
	case d == nil || i < 0 || b.uses[i].route == gateway.WAN && b.uses[i].sets == nil:
		return nil
	case b.uses[i].sets != nil:
		return d.Route(b.uses[i].route).Into(*b.uses[i].sets)
	}
	return d.Route(b.uses[i].route)
}

// Aliases returns the aliases once the instance has started, nil before.
func (b *Block) Aliases() *aliases.Store {
	if bound := b.instance.binding.Load(); bound != nil {
		return bound.aliases
	}
	return nil
}

// start checks the Corefile as a whole, and selects in the dataplane what it needs.
func (i *instance) start(ctx caddy.Context) error {
	zones, err := readZones(ctx, func(id uintptr) *Block {
		if n := slices.IndexFunc(i.blocks, func(b *Block) bool { return b.id == id }); n >= 0 {
			return i.blocks[n]
		}
		return &Block{}
	})
	if err != nil {
		return err
	}
	if err := checkZones(zones); err != nil {
		return err
	}
	for _, z := range hidden(zones) {
		log.Infof("zone %s has blocks of its own: listed names below it are answered there, via the WAN", z)
	}
	for _, b := range i.blocks {
		if err := b.checkFetching(); err != nil {
			return err
		}
	}
	i.zones = zones
	b, err := acquire(i)
	if err != nil {
		return err
	}
	i.binding.Store(b)
	return nil
}

// requirements returns what the instance needs of the dataplane.
func (i *instance) requirements() dataplane.Requirements {
	req := dataplane.Requirements{Listeners: listeners(i.zones)}
	for _, b := range i.blocks {
		req.Lists = append(req.Lists, b.lists...)
		for _, u := range b.uses {
			req.Uses = append(req.Uses, dataplane.Use{Route: u.route, Learns: u.learns, Sets: u.sets, Lists: b.lists, Any: !b.listed})
		}
	}
	return req
}
