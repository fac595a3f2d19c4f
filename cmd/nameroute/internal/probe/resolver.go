package probe

import (
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Resolver is a resolver in the notation of the Corefile.
type Resolver struct {
	Text string // as written
	Kind string // dns, tcp, tls, or another one, which is not probed
	Addr netip.AddrPort
	Name string // that its certificate must hold; "" is the address
}

// ParseResolver parses ADDRESS, ADDRESS:PORT, tls://ADDRESS%NAME:PORT and the like; ok is
// false for a name or a file.
func ParseResolver(text string) (r Resolver, ok bool) {
	r = Resolver{Text: text, Kind: "dns"}
	port := uint16(53)
	rest := text
	if scheme, after, found := strings.Cut(text, "://"); found {
		r.Kind, rest = scheme, after
	}
	switch r.Kind {
	case "tls", "quic":
		port = 853
	case "https", "grpc":
		port = 443
	}
	if r.Kind != "dns" && r.Kind != "tcp" { // of a certificate's name, which has a port behind it
		host, name, _ := strings.Cut(rest, "%")
		name, number, hasPort := strings.Cut(name, ":")
		if r.Name, rest = strings.TrimSuffix(name, "]"), host; hasPort {
			bare := strings.Trim(host, "[]")
			if rest = bare + ":" + number; strings.Contains(bare, ":") {
				rest = "[" + bare + "]:" + number
			}
		}
	}
	if a, err := netip.ParseAddrPort(rest); err == nil {
		r.Addr = a
		return r, true
	}
	a, err := netip.ParseAddr(strings.Trim(rest, "[]"))
	r.Addr = netip.AddrPortFrom(a.Unmap(), port)
	return r, err == nil
}

// Use is a resolver that is queried via a route.
type Use struct {
	Route    string
	Resolver Resolver
}

// probe queries the resolver as the program does: with the mark of its route. Where the
// kernel would send the query by another link, nothing is sent.
func (u Use) probe(ctx context.Context, cfg *gateway.Config) []status.Finding {
	route, ok := cfg.Route(u.Route)
	if !ok {
		return nil // reported with the Corefile
	}
	if u.Route != gateway.WAN {
		if why := closed(cfg, route, u.Resolver.Addr.Addr()); why != "" {
			return one(status.LevelUnknown, "resolver %s via route %s: nothing was sent: %s", u.Resolver.Text, u.Route, why)
		}
	}
	var transport dns.Client
	switch u.Resolver.Kind {
	case "dns":
		transport.Net = "udp"
	case "tcp":
		transport.Net = "tcp"
	case "tls":
		transport.Net = "tcp-tls"
		transport.TLSConfig = &tls.Config{ServerName: u.Resolver.Name}
		if u.Resolver.Name == "" {
			transport.TLSConfig.ServerName = u.Resolver.Addr.Addr().String()
		}
	default:
		return one(status.LevelUnknown, "resolver %s via route %s: its transport is not probed", u.Resolver.Text, u.Route)
	}
	transport.Timeout, transport.Dialer = attemptLimit, markdial.Dialer(route.Mark, attemptLimit)
	reply, took, err := ask(ctx, &transport, u.Resolver.Addr.String())
	switch {
	case err != nil:
		return one(status.LevelError, "resolver %s via route %s: no answer to two queries: %v", u.Resolver.Text, u.Route, err)
	case reply.Rcode == dns.RcodeServerFailure || reply.Rcode == dns.RcodeRefused:
		return one(status.LevelWarning, "resolver %s via route %s: answers with %s", u.Resolver.Text, u.Route, dns.RcodeToString[reply.Rcode])
	}
	return one(status.LevelOK, "resolver %s via route %s: answers, in %v", u.Resolver.Text, u.Route, took.Round(time.Millisecond/10))
}

// beyond asks a root server through a route of which no resolver is used: nothing else
// tells whether there is an internet behind its link. A route to an office has none.
func beyond(ctx context.Context, cfg *gateway.Config, route gateway.Route) []status.Finding {
	var why string
	for _, f := range gateway.Families {
		if why = closed(cfg, route, faraway[f]); why != "" {
			continue
		}
		c := dns.Client{Net: "udp", Timeout: attemptLimit, Dialer: markdial.Dialer(route.Mark, attemptLimit)}
		_, took, err := ask(ctx, &c, netip.AddrPortFrom(faraway[f], 53).String())
		if err == nil {
			return one(status.LevelOK, "route %s: the internet answers through it, in %v", route.Name, took.Round(time.Millisecond/10))
		}
		why = err.Error()
	}
	return one(status.LevelUnknown, "route %s: no answer from a root server through it, which is known for no other use: %s", route.Name, why)
}

// ask queries for the root's name servers, which every resolver knows, and for them again
// if the first query is lost.
func ask(ctx context.Context, c *dns.Client, to string) (reply *dns.Msg, took time.Duration, err error) {
	for range 2 {
		if reply, took, err = c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(".", dns.TypeNS), to); err == nil {
			return reply, took, nil
		}
	}
	return nil, 0, err
}

// closed says why no packet to an address leaves through a route now, "" where it does.
func closed(cfg *gateway.Config, route gateway.Route, to netip.Addr) string {
	states, err := policy.Routes(cfg)
	if err != nil {
		return err.Error()
	}
	missing, err := missingRule(route, gateway.FamilyOf(to))
	switch {
	case err != nil:
		return err.Error()
	case missing != "":
		return "no policy rule leads to the route: nameroute run"
	case !states[route.Name].Up():
		return "the route is down"
	}
	return wrongEgress(route, states[route.Name], to)
}
