package dnshalf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// refresh reads what the sidecar shows in the kernel (each route's table) and what
// lies around the box, publishes the routes' states and brings the nft table up to
// date. It runs in one goroutine at a time.
func (h *Half) refresh(ctx context.Context) error {
	cfg := h.Config()
	seen, err := policy.Routes(cfg)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if links := seen[gateway.WAN].Links; len(links) > 0 {
		h.wan = links
	}
	wan := h.wan
	plans := slices.Clone(h.plans)
	h.mu.Unlock()
	if cfg.WANLink != "" {
		wan = []string{cfg.WANLink}
	}

	spec := firewall.Spec{Config: cfg, WANLinks: wan, Egress: map[string]firewall.Egress{}, Prefixes: map[string][]netip.Prefix{}, Listeners: listeners(plans), Removed: h.goneMarks(cfg, time.Now())}
	var links []string
	wanResolvers := h.resolversOfWAN(cfg)
	for _, r := range cfg.AllRoutes() {
		conf := h.providers.Load(r).Conf
		st := h.publish(r, conf, seen[r.Name], cfg, wanResolvers)
		if r.Name == gateway.WAN {
			continue
		}
		e := egress(cfg, r, conf, seen[r.Name], wan)
		e.Down = st.Down
		spec.Egress[r.Name] = e
		spec.Prefixes[r.Name] = h.prefixes(r)
		if e.Inbound {
			links = append(links, e.Links...)
		}
	}
	h.withdraw(cfg)
	if spec.Local, err = policy.Local(links); err != nil {
		return err
	}
	h.sayOnce(saidRedirect, Unredirected(spec, wantsTable(plans)))
	if !wantsTable(plans) {
		h.sayOnce(saidEvict, unevicted(cfg))
		return nil
	}
	if _, err = h.kernel.Apply(ctx, firewall.Desired(spec)); err != nil {
		return err
	}
	h.evict.applied(spec)
	return h.turnQuestions(spec)
}

// fallen reports whether new flows of a route go by the WAN now.
func (h *Half) fallen(route string) bool {
	st := h.cell(route).Load()
	return st.Down && st.Route.OnDown == gateway.FallBack
}

// resolversOfWAN are those of the moment, else the last that there were: what renews a
// lease empties the file first, or for good when the line is down. Where there never
// was one, `upstream wan` without addresses answers SERVFAIL and says why.
func (h *Half) resolversOfWAN(cfg *gateway.Config) []netip.AddrPort {
	found, err := resolvers.Find(cfg)
	servers := found.Servers
	if err != nil && len(h.wanResolvers) > 0 {
		err = fmt.Errorf("%w: the last ones stay in use", err)
	}
	h.sayOnce("resolvers", err)
	if err == nil {
		if old := h.wanResolvers; len(old) > 0 && !slices.Equal(old, servers) {
			log.Infof("the WAN's resolvers are %s now", servers)
		}
		h.wanResolvers = servers
	}
	return h.wanResolvers
}

// sayOnce logs what is wrong with something when it changes.
func (h *Half) sayOnce(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if old, _ := h.said.Swap(what, text); text != "" && old != text {
		log.Warning(text)
	}
}

func wantsTable(plans []*plan) bool {
	return slices.ContainsFunc(plans, (*plan).wantsTable)
}

// egress tells the nft table by which links a route leaves.
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
	case gateway.SNATOff:
	case gateway.SNATTo:
		for _, a := range r.SNAT.Addrs {
			snat(&e, a)
		}
	case gateway.SNATMasquerade:
		e.Masquerade = true
	default:
		e.Masquerade = conf == nil
		if conf != nil {
			for _, p := range conf.Addresses {
				snat(&e, p.Addr())
			}
		}
	}
	return e
}

// snat takes the first address of each family.
func snat(e *firewall.Egress, a netip.Addr) {
	switch {
	case a.Is4() && !e.SNAT4.IsValid():
		e.SNAT4 = a
	case a.Is6() && !e.SNAT6.IsValid():
		e.SNAT6 = a
	}
}

// publish stores what is known of a route for the queries. The WAN is never down: a
// resolver on a connected network needs no default, and before the sidecar has run
// for the first time table main leads to all of them.
func (h *Half) publish(r gateway.Route, conf *provider.Conf, seen policy.RouteState, cfg *gateway.Config, wan []netip.AddrPort) *Status {
	cell := h.cell(r.Name)
	old := cell.Load()
	st := &Status{
		Route: r, Down: r.Name != gateway.WAN && !seen.Default4 && !seen.Default6, V4: seen.Default4, V6: seen.Default6,
		WANMark: cfg.WANRoute().Mark, WANResolvers: wan, pair: firewall.Pair(r),
	}
	if st.Down {
		// Which families it has does not change because it is down.
		st.V4, st.V6 = old.V4, old.V6
		if conf != nil {
			st.V4, st.V6 = conf.Families()
		}
	} else if !seen.Default6 && old.V6 && mayHaveV6(conf) {
		h.awaitV6(st, old, time.Now())
	}
	switch {
	case r.Name == gateway.WAN:
		st.Resolvers = wan
	case conf != nil:
		st.Resolvers = conf.Resolvers()
	}
	if r.Name != gateway.WAN && old.Down != st.Down && old.Route.Number != 0 {
		said := "up"
		if st.Down {
			said = "down, " + map[gateway.OnDown]string{gateway.Block: "its packets and queries are blocked", gateway.FallBack: "new flows and queries go by the WAN"}[r.OnDown]
		}
		log.Infof("route %s is %s", r.Name, said)
	}
	cell.Store(st)
	return st
}

// familyLag is how long a route may lack the IPv6 default before it counts as a route
// without IPv6. A route comes up one default at a time, and an AAAA that is answered
// with no data in between would be cached for a minute.
const familyLag = 3 * time.Second

// awaitV6 lets a route keep IPv6 for familyLag after its default was last seen.
func (h *Half) awaitV6(st, old *Status, now time.Time) {
	st.noV6 = old.noV6
	if st.noV6.IsZero() {
		st.noV6 = now
		time.AfterFunc(familyLag, h.Kick)
	}
	st.V6 = now.Sub(st.noV6) < familyLag
}

// mayHaveV6 tells what the provider's file says; other egresses may have any family.
func mayHaveV6(conf *provider.Conf) bool {
	if conf == nil {
		return true
	}
	_, v6 := conf.Families()
	return v6
}

// withdraw marks the routes that have left gateway.yaml as down, for the blocks
// that still name them.
func (h *Half) withdraw(cfg *gateway.Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, cell := range h.cells {
		if _, ok := cfg.Route(name); !ok {
			st := *cell.Load()
			st.Down, st.Route.OnDown = true, gateway.Block
			cell.Store(&st)
		}
	}
}

// cell is where a route's state is found; it is made when it is first asked for.
func (h *Half) cell(name string) *atomic.Pointer[Status] {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cells[name]
	if c == nil {
		c = new(atomic.Pointer[Status])
		r, ok := h.Config().Route(name)
		if !ok {
			r = gateway.Route{Name: name}
		}
		r.Number = 0
		c.Store(&Status{Route: r, Down: true, V4: true, V6: true, WANMark: h.Config().WANRoute().Mark, pair: firewall.Pair(r)})
		h.cells[name] = c
	}
	return c
}

// listeners are the addresses and ports that the blocks answer on.
func listeners(plans []*plan) []firewall.Listener {
	var all []firewall.Listener
	for _, p := range plans {
		for _, b := range p.blocks {
			port, err := strconv.ParseUint(b.Port, 10, 16)
			if err != nil {
				continue // a block without a port has no listener
			}
			for _, host := range b.Hosts {
				for _, proto := range protocols(b.Transport) {
					l := firewall.Listener{Addr: listenAddr(host), Proto: proto, Port: uint16(port), DNS: b.Transport == "dns"}
					if !slices.Contains(all, l) {
						all = append(all, l)
					}
				}
			}
		}
	}
	return all
}

// protocols are those below a CoreDNS transport.
func protocols(transport string) []string {
	switch transport {
	case "dns":
		return []string{"udp", "tcp"}
	case "quic", "https3":
		return []string{"udp"}
	default: // tls, https, grpc
		return []string{"tcp"}
	}
}
