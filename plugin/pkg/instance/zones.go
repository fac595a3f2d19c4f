package instance

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
)

// zone is one zone of one server block of the Corefile.
type zone struct {
	name      string // fqdn in lower case
	transport string // dns, tls, https, quic, grpc, https3
	port      string
	hosts     []string // addresses that the block is bound to; "" for all
	filtered  bool     // the block has a view, ours or another
	lists     []string // of the view, where it is ours
	view      string   // the view's name; "" without
	class     string   // of clients that the block is for; "": for all
	block     uintptr  // the same for all zones of one server block

	config *dnsserver.Config
}

// errLayout is returned for a version of CoreDNS with another layout of its context.
var errLayout = errors.New("the layout of this CoreDNS's server blocks is not that of v1.15")

// readZones returns the zones of the instance that starts, in the order of the Corefile.
// CoreDNS shows a plugin only its own block, while the order and the listeners of all of
// them decide whether a listed name can bypass its block. So its context is read by
// reflection, which never writes, and a test fails when a new version changes the layout.
// ours returns what our directives say of a server block.
func readZones(ctx caddy.Context, ours func(block uintptr) *Block) (zones []zone, err error) {
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
			config:    (*dnsserver.Config)(configs.Index(i).UnsafePointer()),
		}
		z.lists, z.class = ours(z.block).lists, ours(z.block).class
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
// listener that lacks a list that another has refuses its names, or resolves them via the
// WAN. Each listener may have blocks of its own.
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
	plain, allOfClass := false, false
	var carried []string
	for _, z := range here {
		switch {
		case !slices.Contains(z.listeners(), listener):
		case !z.filtered:
			plain, allOfClass = true, z.class != ""
		case plain:
			return fmt.Errorf("zone %s on %s: a block with listed or view comes after one without, which answers every query first: move the one without to the end", name, listener)
		default:
			carried = append(carried, z.selects()...)
		}
	}
	for _, z := range here {
		if z.class != "" || allOfClass {
			continue // a class's names are its own, and a block that answers all hides those of others
		}
		for _, s := range z.selects() {
			if !slices.Contains(carried, s) {
				return fmt.Errorf("zone %[1]s: %[2]s has a block on %[3]s and none on %[4]s, where its names would be refused or take another route: "+
					"serve both by the same blocks (each begins with `. tls://. https://. {`, say, or has the same bind), or give %[4]s a block with %[2]s too",
					name, s, strings.Join(z.listeners(), " "), listener)
			}
		}
	}
	if !plain {
		return fmt.Errorf("zone %s on %s: names on no list would be refused: add a last block without listed on this listener", name, listener)
	}
	return checkUnfiltered(name, listener, here)
}

// selects returns what a filtered block selects its queries by.
func (z zone) selects() []string {
	if !z.filtered {
		return nil
	}
	if len(z.lists) == 0 {
		return []string{"view " + z.view}
	}
	var all []string
	for _, l := range z.lists {
		all = append(all, "listed "+l)
	}
	return all
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
			if len(z.lists) == 0 || z.name == name || !within(name, z.name) {
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
	return slices.ContainsFunc(zones, func(z zone) bool { return z.name == name && len(z.lists) > 0 })
}

func within(name, parent string) bool {
	return parent == "." || name == parent || strings.HasSuffix(name, "."+parent)
}
