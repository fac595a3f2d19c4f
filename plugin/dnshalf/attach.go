package dnshalf

import (
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// plan is what one CoreDNS instance asks of the half of one gateway.yaml. It is
// filled by the setups of that instance and does nothing until it starts.
type plan struct {
	file   string
	config *gateway.Config
	routes []*Route         // one for each directive that names a route
	lists  map[string]bool  // lists that the Corefile names
	listed map[uintptr]bool // server blocks with the directive listed
	blocks []Block          // all server blocks, known when the instance starts

	reports []func() []UpstreamStatus // for snapshots

	blockLists map[uintptr][]string // the lists of each block in listed
	half       atomic.Pointer[Half]
}

// Handle ties one plugin of one server block to its half.
type Handle struct {
	plan *plan
	c    *caddy.Controller
}

type planKey string

// Attach reads the gateway.yaml of the block ("" for the default) and ties the block
// to its half, which opens when the instance starts. The file is read once for each
// instance, so that all blocks see the same.
func Attach(c *caddy.Controller, file string) (*Handle, error) {
	if file == "" {
		file = defaultConfig()
	}
	if p, ok := c.Get(planKey(file)).(*plan); ok {
		return &Handle{p, c}, nil
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	p := &plan{file: file, config: cfg, lists: map[string]bool{}, listed: map[uintptr]bool{}, blockLists: map[uintptr][]string{}}
	c.Set(planKey(file), p)
	c.OnStartup(func() error { return p.start(c.Context()) })
	c.OnShutdown(func() error {
		// An error here would make CoreDNS stop half way through a restart.
		if err := release(p); err != nil {
			log.Errorf("close the dns half: %v", err)
		}
		return nil
	})
	c.OnRestartFailed(func() error { keepOnly(p); return nil })
	return &Handle{p, c}, nil
}

// start looks at the Corefile as a whole, then opens or joins the half.
func (p *plan) start(ctx caddy.Context) error {
	blocks, err := readBlocks(ctx, p.listed)
	if err != nil {
		return err
	}
	if err := checkBlocks(blocks); err != nil {
		return err
	}
	for _, z := range hidden(blocks) {
		log.Infof("zone %s has blocks of its own: listed names below it are answered there, by the WAN", z)
	}
	p.blocks = blocks
	h, err := acquire(p)
	if err != nil {
		return err
	}
	p.half.Store(h)
	for _, r := range p.routes {
		r.bind(h)
	}
	return nil
}

// Config is gateway.yaml as it was when the instance was set up.
func (h *Handle) Config() *gateway.Config { return h.plan.config }

// Half is the half once the instance has started, nil before.
func (h *Handle) Half() *Half { return h.plan.half.Load() }

// Listed notes the lists that the block answers for. An unknown list is an error
// that names the nearest known one.
func (h *Handle) Listed(lists []string) error {
	known := make([]string, 0, len(h.plan.config.Lists))
	for _, l := range h.plan.config.Lists {
		known = append(known, l.Name)
	}
	for _, l := range lists {
		if _, ok := h.plan.config.List(l); !ok {
			return unknown("list", l, known, h.plan.file)
		}
		h.plan.lists[l] = true
	}
	h.plan.listed[h.block()] = true
	h.plan.blockLists[h.block()] = lists
	return nil
}

// block identifies the server block.
func (h *Handle) block() uintptr { return reflect.ValueOf(dnsserver.GetConfig(h.c)).Pointer() }

// Route notes that the block uses a route. An unknown route is an error that names
// the nearest known one.
func (h *Handle) Route(name string) (*Route, error) {
	r, ok := h.plan.config.Route(name)
	if !ok {
		known := []string{gateway.WAN}
		for _, r := range h.plan.config.Routes {
			known = append(known, r.Name)
		}
		return nil, unknown("route", name, known, h.plan.file)
	}
	route := &Route{name: name, mark: r.Mark, block: h.block()}
	h.plan.routes = append(h.plan.routes, route)
	return route, nil
}

// wantsTable tells whether our own nft table is to be built: always, but where the
// blocks put their addresses into sets of somebody else, or learn nothing at all.
func (p *plan) wantsTable() bool {
	for _, r := range p.routes {
		if r.foreign != nil {
			return false
		}
	}
	return len(p.routes) > 0
}

// foreignSets lists the sets of others that the blocks learn into.
func (p *plan) foreignSets() []nft.SetPair {
	var pairs []nft.SetPair
	for _, r := range p.routes {
		if r.foreign != nil {
			pairs = append(pairs, *r.foreign)
		}
	}
	return pairs
}

// mixed is an error where some blocks use sets of others and some use ours.
func (p *plan) mixed() error {
	own, foreign := "", ""
	for _, r := range p.routes {
		switch {
		case r.foreign != nil:
			foreign = r.name
		case r.learns:
			own = r.name
		}
	}
	if own != "" && foreign != "" {
		return fmt.Errorf("route %s has `set` and route %s has not: with sets of others no table is built, so either all route directives have `set` or none", foreign, own)
	}
	return nil
}

func unknown(what, name string, known []string, file string) error {
	if len(known) == 0 {
		return fmt.Errorf("unknown %s %q: %s has none", what, name, file)
	}
	if n := problem.Nearest(name, known); n != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q? (%s has: %s)", what, name, n, file, strings.Join(known, ", "))
	}
	return fmt.Errorf("unknown %s %q: %s has: %s", what, name, file, strings.Join(known, ", "))
}
