package instance

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// CheckFetching finds what would query the names of a block with route by sockets without
// the route's mark, so past the tunnel. Where the block learns into the sets of another
// program's nft table, the egress of sockets is decided by that program's rules, so that it
// is only worth a note; so is a block that says to query via the WAN.
func CheckFetching(f *corefile.File) (notes []string, errs []error) {
	for _, b := range f.Blocks {
		if b.Route == nil {
			continue
		}
		for _, d := range b.Directives {
			switch {
			case slices.Contains(corefile.Fetching(), d.Name) && b.Route.Foreign:
				notes = append(notes, unmarked(d.Position, d.Name, b.Route.Name))
			case slices.Contains(corefile.Fetching(), d.Name):
				errs = append(errs, d.Errorf("%w", fetches(d.Name, b.Route.Name)))
			case d.Name == "dnstap" && len(d.Args) > 0 && !isLocal(d.Args[0]):
				notes = append(notes, fmt.Sprintf("%s:%d: dnstap sends the names that clients query of route %s to %s by the default route", d.File, d.Line, b.Route.Name, d.Args[0]))
			}
		}
		if u := b.Upstream; u != nil && u.Route == gateway.WAN && b.Route.Name != gateway.WAN && !b.Route.Foreign {
			notes = append(notes, past(u.Position, b.Route.Name))
		}
	}
	return notes, errs
}

// ErrKeptAndCached is why `ecs keep` and *cache* exclude each other in a block: a cache does
// not tell answers by the client's subnet (RFC 7871, section 7.3.1).
var ErrKeptAndCached = errors.New("ecs: keep: the cache of this block would give one client what is meant for another: want a block without cache, or ecs with a prefix, the same for all")

// CheckCached finds blocks whose cache would keep what is meant for one client's subnet.
func CheckCached(f *corefile.File) (errs []error) {
	for _, b := range f.Blocks {
		cached := slices.ContainsFunc(b.Directives, func(d corefile.Directive) bool { return d.Name == "cache" })
		if u := b.Upstream; u != nil && cached && slices.ContainsFunc(u.Properties, func(p corefile.Property) bool {
			return p.Name == "ecs" && slices.Equal(p.Args, []string{"keep"})
		}) {
			errs = append(errs, fmt.Errorf("plugin/upstream: %w", u.Errorf("%w", ErrKeptAndCached)))
		}
	}
	return errs
}

// fetches is the error for a directive of a block with route.
func fetches(directive, route string) error {
	return fmt.Errorf("%s would query the names of route %s by the default route, past the route: want upstream %s ADDRESS..., or %s in a block of its own without route", directive, route, route, directive)
}

// isLocal reports whether a dnstap endpoint is on this box.
func isLocal(endpoint string) bool {
	for _, remote := range []string{"tcp://", "tls://"} {
		if host, ok := strings.CutPrefix(endpoint, remote); ok {
			return strings.HasPrefix(host, "127.") || strings.HasPrefix(host, "[::1]") || strings.HasPrefix(host, "localhost")
		}
	}
	return true // a socket's path
}

// checkFetching is CheckFetching for a block that starts, of which CoreDNS shows only the
// handlers. It logs what is worth a note.
func (b *Block) checkFetching() error {
	i := slices.IndexFunc(b.uses, func(u use) bool { return u.learns })
	if i < 0 {
		return nil
	}
	route, foreign := b.uses[i].route, b.uses[i].sets != nil
	for _, n := range b.names {
		if n.directive == "upstream" && n.name == gateway.WAN && !foreign && route != gateway.WAN {
			log.Warning(past(n.at, route))
		}
		if n.directive != "route" {
			continue
		}
		for _, d := range corefile.Fetching() {
			switch {
			case b.config.Handler(d) == nil:
			case foreign:
				log.Warning(unmarked(n.at, d, route))
			default:
				return fmt.Errorf("plugin/route: %w", n.at.Errorf("%w", fetches(d, route)))
			}
		}
	}
	return nil
}

// unmarked says that the egress of a directive's queries is another program's business.
func unmarked(at corefile.Position, directive, route string) string {
	return fmt.Sprintf("%s:%d: %s queries by the default route, unless the rules that use the sets of route %s mark its packets, too", at.File, at.Line, directive, route)
}

// past says that a block's names are queried via the WAN.
func past(at corefile.Position, route string) string {
	return fmt.Sprintf("%s:%d: the names of this block are queried via the WAN, and only their addresses take route %s: upstream %s queries via the route", at.File, at.Line, route, route)
}
