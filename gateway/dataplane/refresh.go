package dataplane

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
)

// refresh reads what the sidecar shows in the kernel (each route's table) and what is
// around the box, publishes the routes' states and brings the nft table up to date.
func (c *Controller) refresh(ctx context.Context) error {
	c.work.Lock()
	defer c.work.Unlock()
	if c.closed {
		return learned.ErrClosed
	}
	cfg, required := c.Config(), c.requirements()
	seen, err := c.system.Routes(cfg)
	if err != nil {
		return err
	}
	spec := firewall.Spec{
		Config: cfg, WANLinks: c.wanLinks(cfg, seen), Removed: c.removedMarks(cfg, time.Now()), Listeners: listenersOf(required),
	}
	c.addRoutes(&spec, seen)
	local, err := c.system.Local(cfg)
	if err != nil {
		return err
	}
	features := c.kernel.Features()
	spec.NoLabels, spec.NoSockets, spec.NoFIB, spec.NoCgroups = !features.Labels, !features.Sockets, !features.FIB, !features.Cgroups
	spec.Programs = c.system.Programs(cfg.Clients)
	c.warnOnce("programs", missingPrograms(spec))
	spec.Local, spec.LAN = local.Prefixes(), local.LAN()
	addUplinks(&spec, seen[gateway.WAN], local)
	table := wantsTable(required)
	c.reportProblems(spec, table)
	if !table {
		return nil
	}
	closing := c.closingRoutes(cfg, required)
	withClosing(&spec, closing)
	if _, err = c.kernel.Apply(ctx, firewall.Desired(spec)); err != nil {
		return err
	}
	if err := c.settle(ctx, closing); err != nil {
		return err
	}
	to := destinationsOf(spec)
	c.destinations.Store(to)
	c.evict.onApply(spec, to)
	return c.resetRedirectedFlows(spec)
}

// addRoutes publishes the routes' states and adds their egresses and prefixes to the spec.
// c.work is held.
func (c *Controller) addRoutes(spec *firewall.Spec, seen map[string]policy.RouteState) {
	cfg, known := spec.Config, c.findResolvers(spec.Config, seen)
	spec.InForce = map[string]firewall.InForce{}
	spec.Egress, spec.Prefixes = map[string]firewall.Egress{}, map[string][]netip.Prefix{}
	for _, r := range cfg.AllRoutes() {
		found := inForce(spec, r, seen[r.Name])
		conf := c.confOf(cfg, r, found)
		st := c.publish(r, conf, seen[r.Name], cfg, known, namesOf(found))
		spec.Prefixes[r.Name] = c.prefixes(r, conf, seen[r.Name])
		if r.Name == gateway.WAN {
			continue
		}
		e := egress(cfg, r, conf, seen[r.Name], spec.WANLinks)
		e.Down = st.Down
		spec.Egress[r.Name] = e
	}
	addGroups(spec)
	c.closeUnconfigured(cfg)
}

// reportProblems keeps what of the configuration cannot be had for Status, and logs it
// where it changes.
func (c *Controller) reportProblems(spec firewall.Spec, table bool) {
	redirect := CheckRedirect(spec, table)
	c.mu.Lock()
	c.redirect = redirect
	c.mu.Unlock()
	c.warnOnce("redirect_dns", redirect)
	var evict error
	if !table {
		evict = checkEvict(spec.Config)
	}
	c.warnOnce("evict", evict)
	var labels error
	if table && spec.NoLabels {
		labels = errors.New("no conntrack labels in this kernel (CONFIG_NF_CONNTRACK_LABELS): a program that overwrites ct marks can free established flows of routes")
	}
	c.warnOnce("conntrack labels", labels)
}

// warnOnce logs an error when it changes.
func (c *Controller) warnOnce(subject string, err error) {
	if changed, _ := c.edge.Error(subject, err); changed {
		c.log.Warn(err.Error())
	}
}

// wanLinks returns the interfaces of the WAN; while it has no default, the last ones.
func (c *Controller) wanLinks(cfg *gateway.Config, seen map[string]policy.RouteState) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if links := seen[gateway.WAN].Links; len(links) > 0 {
		c.wan = links
	}
	switch {
	case cfg.WANLink != "":
		return []string{cfg.WANLink}
	case cfg.WANGroup != nil:
		return links(cfg.Members(cfg.WANRoute()))
	}
	return c.wan
}

// egress returns what the nft table has to know of a route's egress.
func egress(cfg *gateway.Config, r gateway.Route, conf *provider.Conf, seen policy.RouteState, wan []string) firewall.Egress {
	e := firewall.Egress{Links: seen.Links, MTU: seen.MTU}
	if r.Egress.Link != "" {
		e.Links = []string{r.Egress.Link}
	}
	// A link that also carries the LAN or the WAN does not tell which route a
	// connection came in by.
	e.Inbound = !slices.ContainsFunc(e.Links, func(l string) bool {
		return slices.Contains(cfg.LAN, l) || slices.Contains(wan, l)
	})
	switch r.SNAT.Mode {
	case gateway.SNATNone:
	case gateway.SNATOff:
		e.Own = ofEgress(conf)
	case gateway.SNATTo:
		e.Source = firewall.SNATTo(r.SNAT.Addrs)
	case gateway.SNATMasquerade:
		e.Masquerade = true
	default:
		e.Source = ofEgress(conf)
	}
	return e
}

// ofEgress is the source of what leaves by an egress: a tunnel's address, or that of the link.
func ofEgress(conf *provider.Conf) firewall.Source {
	if conf == nil {
		return firewall.Source{Masquerade: true}
	}
	var own []netip.Addr
	for _, p := range conf.Addresses {
		own = append(own, p.Addr())
	}
	return firewall.SNATTo(own)
}
