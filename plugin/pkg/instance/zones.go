package instance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/coredns/caddy"
)

// zone is one zone of one server block of the Corefile.
type zone struct {
	name      string // fqdn in lower case
	transport string // dns, tls, https, quic, grpc, https3
	port      string
	hosts     []string // addresses that the block is bound to; "" for all
	filtered  bool     // the block has a view, ours or another
	listed    bool     // the view is ours
	view      string   // the view's name; "" without
	block     uintptr  // the same for all zones of one server block
}

// errLayout is returned for a version of CoreDNS with another layout of its context.
var errLayout = errors.New("the layout of this CoreDNS's server blocks is not that of v1.15")

// readZones returns the zones of the instance that starts, in the order of the Corefile.
// CoreDNS shows a plugin only its own block, while the order and the listeners of all of
// them decide whether a listed name can bypass its block. So its context is read by
// reflection, which never writes, and a test fails when a new version changes the layout.
// listed reports whether a server block has the listed directive.
func readZones(ctx caddy.Context, listed func(block uintptr) bool) (zones []zone, err error) {
	defer func() {
		if r := recover(); r != nil {
			zones, err = nil, fmt.Errorf("%w: %v", errLayout, r)
		}
	}()
	configs := reflect.ValueOf(ctx).Elem().FieldByName("configs")
	if !configs.IsValid() || configs.Kind() != reflect.Slice {
		return nil, errLayout
	}
	for i := range configs.Len() {
		c := configs.Index(i).Elem()
		z := zone{
			name:      c.FieldByName("Zone").String(),
			transport: c.FieldByName("Transport").String(),
			port:      c.FieldByName("Port").String(),
			filtered:  c.FieldByName("FilterFuncs").Len() > 0,
			view:      c.FieldByName("ViewName").String(),
			block:     c.FieldByName("firstConfigInBlock").Pointer(),
		}
		z.listed = listed(z.block)
		hosts := c.FieldByName("ListenHosts")
		for j := range hosts.Len() {
			z.hosts = append(z.hosts, hosts.Index(j).String())
		}
		zones = append(zones, z)
	}
	return zones, nil
}

// checkZones finds what would let a listed name bypass its block. CoreDNS tries the blocks
// of a zone on one listener from top to bottom, so an unfiltered one hides all below it. A
// listener that carries only some of the blocks refuses listed names, or resolves them via
// the WAN.
func checkZones(zones []zone) error {
	var errs []error
	for _, name := range namesOf(zones) {
		here := slices.DeleteFunc(slices.Clone(zones), func(z zone) bool { return z.name != name })
		listed := hasListed(here, name)
		for _, l := range listenersOf(here) {
			if !listed {
				errs = append(errs, checkUnfiltered(name, l, here))
				continue
			}
			errs = append(errs, checkListener(name, l, here))
		}
	}
	return errors.Join(errs...)
}

// checkUnfiltered checks that one listener carries at most one unfiltered block of a zone.
// CoreDNS refuses a second one, but only when it opens its listeners.
func checkUnfiltered(name, listener string, here []zone) error {
	n := 0
	for _, z := range here {
		if !z.filtered && slices.Contains(z.listeners(), listener) {
			n++
		}
	}
	if n > 1 {
		return fmt.Errorf("zone %s on %s: more than one block without listed or view: merge them into one", name, listener)
	}
	return nil
}

// checkListener checks what one listener carries of a zone.
func checkListener(name, listener string, here []zone) error {
	plain := false
	var missing []string
	for _, z := range here {
		carries := slices.ContainsFunc(here, func(o zone) bool {
			return o.block == z.block && slices.Contains(o.listeners(), listener)
		})
		switch {
		case !carries && z.filtered:
			missing = append(missing, z.listeners()...)
		case carries && z.filtered && plain:
			return fmt.Errorf("zone %s on %s: a block with listed or view comes after one without, which answers every query first: move the one without to the end", name, listener)
		case carries && !z.filtered:
			plain = true
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("zone %s: the block with listed or view on %s is not on %s, where its names would be refused or take another route: give all blocks of the zone the same bind and port", name, strings.Join(missing, " "), listener)
	}
	if !plain {
		return fmt.Errorf("zone %s on %s: names on no list would be refused: add a last block without listed, with the same bind and port", name, listener)
	}
	return checkUnfiltered(name, listener, here)
}

// listeners returns the listeners that carry the zone.
func (z zone) listeners() []string {
	var l []string
	for _, h := range z.hosts {
		if h == "" {
			h = "*"
		}
		l = append(l, z.transport+"://"+h+":"+z.port)
	}
	return l
}

func namesOf(zones []zone) []string {
	var names []string
	for _, z := range zones {
		if !slices.Contains(names, z.name) {
			names = append(names, z.name)
		}
	}
	return names
}

func listenersOf(zones []zone) []string {
	var all []string
	for _, z := range zones {
		for _, l := range z.listeners() {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

// hidden returns the zones that are more specific than a zone with listed blocks: CoreDNS
// only tries the most specific zone, so a listed name below it never reaches its list.
// That may be wanted (a local domain), so it is reported and not refused.
func hidden(zones []zone) []string {
	var names []string
	for _, name := range namesOf(zones) {
		for _, z := range zones {
			if !z.listed || z.name == name || !within(name, z.name) {
				continue
			}
			if !hasListed(zones, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func hasListed(zones []zone, name string) bool {
	return slices.ContainsFunc(zones, func(z zone) bool { return z.name == name && z.listed })
}

func within(name, parent string) bool {
	return parent == "." || name == parent || strings.HasSuffix(name, "."+parent)
}
