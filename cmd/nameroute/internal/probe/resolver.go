package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/once"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// Use is a resolver that is queried via a route.
type Use struct {
	Route     string
	Text      string // as the Corefile has it
	Address   address.Address
	Bootstrap []netip.AddrPort // asked for its name
	Trust     trust.Options
	Settings  string // what Bootstrap and Trust were made from
	Own       bool   // the route's own resolver: of a group, that of the member in force
}

// Same reports whether both are the same.
func (u Use) Same(o Use) bool {
	return u.Route == o.Route && u.Address == o.Address && u.Settings == o.Settings
}

// probe queries the resolver as the program does: by its own transport, with the mark of its
// route. Where the kernel would send the query by another link, nothing is sent.
func (u Use) probe(ctx context.Context, cfg *gateway.Config) []status.Finding {
	route, ok := cfg.Route(u.Route)
	if !ok {
		return nil // reported with the Corefile
	}
	return u.via(ctx, cfg, route, fmt.Sprintf("resolver %s via route %s", u.Text, u.Route))
}

// through queries the resolver of a group through one of its members, whether that is in force or
// rests. The group works without it, so that no answer is no error.
func (u Use) through(ctx context.Context, cfg *gateway.Config, member gateway.Route) []status.Finding {
	if u.Address.Host == "" && lacks(cfg, member, gateway.FamilyOf(u.Address.Addr.Addr())) {
		return nil
	}
	found := u.via(ctx, cfg, member, fmt.Sprintf("resolver %s via route %s: member %s", u.Text, u.Route, member.Name))
	for i := range found {
		if found[i].Level == status.LevelError {
			found[i].Level = status.LevelWarning
		}
	}
	return found
}

func (u Use) via(ctx context.Context, cfg *gateway.Config, route gateway.Route, what string) []status.Finding {
	addrs, found := u.places(ctx, cfg, route, what)
	if len(addrs) == 0 {
		return found
	}
	r := once.Resolver{Address: u.Address, Addrs: addrs, Trust: u.Trust, Mark: route.Mark, Timeout: attemptLimit}
	attempts, times := 2, "no answer to two queries"
	if u.Address.Transport.Encrypted() { // nothing that is lost is lost for good
		attempts, times, r.Timeout = 1, "no answer", 2*attemptLimit
	}
	var reply *dns.Msg
	var err error
	began := time.Now()
	for range attempts {
		began = time.Now()
		if reply, err = r.Ask(ctx, root); err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return one(status.LevelError, "%s: %s: %v%s", what, times, err, remedy(u, err))
	case reply.Rcode == dns.RcodeServerFailure || reply.Rcode == dns.RcodeRefused:
		return one(status.LevelWarning, "%s: answers with %s", what, dns.RcodeToString[reply.Rcode])
	}
	return one(status.LevelOK, "%s: answers, in %v", what, time.Since(began).Round(time.Millisecond/10))
}

// Lookup queries the resolver by its own transport, with the mark of its route. Where the kernel
// would send that by another link, nothing is sent.
func (u Use) Lookup(ctx context.Context, cfg *gateway.Config, q dns.Question) (*dns.Msg, error) {
	route, ok := cfg.Route(u.Route)
	if !ok {
		return nil, fmt.Errorf("no route %s", u.Route)
	}
	addrs, found := u.places(ctx, cfg, route, u.Text)
	if len(addrs) == 0 && len(found) > 0 {
		return nil, errors.New(found[0].Text)
	}
	r := once.Resolver{Address: u.Address, Addrs: addrs, Trust: u.Trust, Mark: route.Mark, Timeout: attemptLimit}
	return r.Ask(ctx, q)
}

// places returns where the resolver is, and nothing of what would leave by another link than
// the route's; then it says why.
func (u Use) places(ctx context.Context, cfg *gateway.Config, route gateway.Route, what string) ([]netip.AddrPort, []status.Finding) {
	open := func(all []netip.AddrPort) (left []netip.AddrPort, why string) {
		if route.Name == gateway.WAN {
			return all, ""
		}
		for _, a := range all {
			if no := closed(cfg, route, a.Addr()); no == "" {
				left = append(left, a)
			} else if why == "" {
				why = no
			}
		}
		return left, why
	}
	all := []netip.AddrPort{u.Address.Addr}
	if u.Address.Host != "" {
		if len(u.Bootstrap) == 0 {
			return nil, one(status.LevelUnknown, "%s: nothing was sent: no resolver is known that %s could be looked up at: add `bootstrap ADDRESS`", what, u.Address.Host)
		}
		servers, why := open(u.Bootstrap)
		if len(servers) == 0 {
			return nil, one(status.LevelUnknown, "%s: nothing was sent: %s", what, why)
		}
		addrs, err := markdial.Client{Servers: servers, Mark: route.Mark, Timeout: attemptLimit}.LookupNetIP(ctx, u.Address.Host)
		if err != nil {
			return nil, one(status.LevelError, "%s: its address was not found: %v: add `bootstrap ADDRESS` with a resolver that knows it", what, err)
		}
		all = all[:0]
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a, u.Address.Addr.Port()))
		}
	}
	left, why := open(all)
	if len(left) == 0 {
		return nil, one(status.LevelUnknown, "%s: nothing was sent: %s", what, why)
	}
	return left, nil
}

// beyond asks a root server through a route of which no resolver is used: nothing else
// tells whether there is an internet behind its link. A route to an office has none.
func beyond(ctx context.Context, cfg *gateway.Config, route gateway.Route, what string) []status.Finding {
	var why string
	for _, f := range gateway.Families {
		if why = closed(cfg, route, faraway[f]); why != "" {
			continue
		}
		c := dns.Client{Net: "udp", Timeout: attemptLimit, Dialer: markdial.Dialer(route.Mark, attemptLimit)}
		_, took, err := ask(ctx, &c, netip.AddrPortFrom(faraway[f], 53).String())
		if err == nil {
			return one(status.LevelOK, "%s: the internet answers through it, in %v", what, took.Round(time.Millisecond/10))
		}
		why = err.Error()
	}
	return one(status.LevelUnknown, "%s: no answer from a root server through it, which is known for no other use: %s", what, why)
}

// root is what every resolver knows.
var root = dns.Question{Name: ".", Qtype: dns.TypeNS, Qclass: dns.ClassINET}

// ask queries for the root's name servers, which every resolver knows, and for them again
// if the first query is lost.
func ask(ctx context.Context, c *dns.Client, to string) (reply *dns.Msg, took time.Duration, err error) {
	for range 2 {
		if reply, took, err = c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(root.Name, root.Qtype), to); err == nil {
			return reply, took, nil
		}
	}
	return nil, 0, err
}

// closed says why no packet to an address leaves through a route now, "" where it does.
func closed(cfg *gateway.Config, route gateway.Route, to netip.Addr) string {
	state, err := stateOf(cfg, route)
	if err != nil {
		return err.Error()
	}
	missing, err := missingRule(route, gateway.FamilyOf(to))
	switch {
	case err != nil:
		return err.Error()
	case missing != "":
		return "no policy rule leads to the route: nameroute run"
	case !state.Up():
		return "the route is down"
	}
	return wrongEgress(route, state, to)
}

// lacks reports whether a route is up, but has no way out of a family.
func lacks(cfg *gateway.Config, route gateway.Route, f gateway.Family) bool {
	s, err := stateOf(cfg, route)
	return err == nil && s.Up() && (f == gateway.V4 && !s.Default4 || f == gateway.V6 && !s.Default6)
}

// stateOf returns the state of a route, or of an interface of the WAN.
func stateOf(cfg *gateway.Config, route gateway.Route) (policy.RouteState, error) {
	states, err := policy.Routes(cfg)
	if err != nil {
		return policy.RouteState{}, err
	}
	if s, ok := states[route.Name]; ok {
		return s, nil
	}
	s := policy.RouteState{Links: []string{route.Egress.Link}}
	for f, has := range map[gateway.Family]*bool{gateway.V4: &s.Default4, gateway.V6: &s.Default6} {
		link, asked, err := lookUp(route.Mark, f, "")
		*has = asked && err == nil && link == route.Egress.Link
	}
	return s, nil
}
