package dnshalf

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/coredns/caddy"
)

// Block is one zone of one server block of the Corefile, as CoreDNS understood it.
type Block struct {
	Zone      string // fqdn in lower case
	Transport string // dns, tls, https, quic, grpc, https3
	Port      string
	Hosts     []string // addresses that it is bound to; "" for all
	Filtered  bool     // has a view, ours or another
	Listed    bool     // the view is ours
	View      string   // the view's name; "" without
	id        uintptr  // the same for all keys of one server block
}

// errLayout is returned where CoreDNS keeps its blocks otherwise than this version
// of it does.
var errLayout = errors.New("this CoreDNS keeps its server blocks otherwise than v1.15")

// readBlocks lists the blocks of the instance that is being set up. CoreDNS shows a
// plugin only its own block, while the order and the listeners of all of them decide
// whether a listed name can slip past. So its context is read by reflection, which
// never writes, and a test fails when a new version changes the layout.
// listed holds the identities of the blocks that have the listed directive.
func readBlocks(ctx caddy.Context, listed map[uintptr]bool) (blocks []Block, err error) {
	defer func() {
		if r := recover(); r != nil {
			blocks, err = nil, fmt.Errorf("%w: %v", errLayout, r)
		}
	}()
	configs := reflect.ValueOf(ctx).Elem().FieldByName("configs")
	if !configs.IsValid() || configs.Kind() != reflect.Slice {
		return nil, errLayout
	}
	for i := range configs.Len() {
		c := configs.Index(i).Elem()
		b := Block{
			Zone:      c.FieldByName("Zone").String(),
			Transport: c.FieldByName("Transport").String(),
			Port:      c.FieldByName("Port").String(),
			Filtered:  c.FieldByName("FilterFuncs").Len() > 0,
			View:      c.FieldByName("ViewName").String(),
			id:        c.FieldByName("firstConfigInBlock").Pointer(),
		}
		b.Listed = listed[b.id]
		hosts := c.FieldByName("ListenHosts")
		for j := range hosts.Len() {
			b.Hosts = append(b.Hosts, hosts.Index(j).String())
		}
		blocks = append(blocks, b)
	}
	return blocks, nil
}

// checkBlocks finds what would let a listed name slip past its block. CoreDNS tries
// the blocks of a zone on one listener from top to bottom, so an unfiltered one hides
// all below it, and a listener that carries only some of them answers otherwise than
// its neighbours: it refuses, or it sends listed names by the WAN.
func checkBlocks(blocks []Block) error {
	var errs []error
	for _, zone := range zonesOf(blocks) {
		here := slices.DeleteFunc(slices.Clone(blocks), func(b Block) bool { return b.Zone != zone })
		if !hasListed(here, zone) {
			continue
		}
		for _, l := range listenersOf(here) {
			errs = append(errs, checkListener(zone, l, here))
		}
	}
	return errors.Join(errs...)
}

// checkListener looks at what one listener carries of a zone.
func checkListener(zone, listener string, here []Block) error {
	plain := false
	var missing []string
	for _, b := range here {
		carries := slices.ContainsFunc(here, func(o Block) bool {
			return o.id == b.id && slices.Contains(o.listeners(), listener)
		})
		switch {
		case !carries && b.Filtered:
			missing = append(missing, b.listeners()...)
		case carries && b.Filtered && plain:
			return fmt.Errorf("zone %s on %s: a block with listed or view stands below one without, which answers everything before it: move the block without to the end", zone, listener)
		case carries && !b.Filtered:
			plain = true
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("zone %s: the block with listed or view on %s is not on %s, where its names would be refused or take another route: give all blocks of the zone the same bind and port", zone, strings.Join(missing, " "), listener)
	}
	if !plain {
		return fmt.Errorf("zone %s on %s: names on no list would be refused: add a last block without listed, with the same bind and port", zone, listener)
	}
	return nil
}

func (b Block) listeners() []string {
	var l []string
	for _, h := range b.Hosts {
		if h == "" {
			h = "*"
		}
		l = append(l, b.Transport+"://"+h+":"+b.Port)
	}
	return l
}

func zonesOf(blocks []Block) []string {
	var zones []string
	for _, b := range blocks {
		if !slices.Contains(zones, b.Zone) {
			zones = append(zones, b.Zone)
		}
	}
	return zones
}

func listenersOf(blocks []Block) []string {
	var all []string
	for _, b := range blocks {
		for _, l := range b.listeners() {
			if !slices.Contains(all, l) {
				all = append(all, l)
			}
		}
	}
	return all
}

// hidden lists the zones that are more specific than a zone with listed blocks:
// CoreDNS asks the most specific zone only, so a listed name below it never reaches
// its list. That may be wanted (a local domain), so it is said and not refused.
func hidden(blocks []Block) []string {
	var zones []string
	for _, zone := range zonesOf(blocks) {
		for _, b := range blocks {
			if !b.Listed || b.Zone == zone || !within(zone, b.Zone) {
				continue
			}
			if !hasListed(blocks, zone) && !slices.Contains(zones, zone) {
				zones = append(zones, zone)
			}
		}
	}
	return zones
}

func hasListed(blocks []Block, zone string) bool {
	return slices.ContainsFunc(blocks, func(b Block) bool { return b.Zone == zone && b.Listed })
}

func within(zone, parent string) bool {
	return parent == "." || zone == parent || strings.HasSuffix(zone, "."+parent)
}

// listenAddr turns a bind host into an address; the zero Addr stands for all.
func listenAddr(host string) netip.Addr {
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
