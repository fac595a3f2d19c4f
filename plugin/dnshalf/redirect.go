package dnshalf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Where Half.said keeps what cannot be had. No list has such a name.
const (
	saidRedirect = "redirect_dns "
	saidEvict    = "evict "
)

// errNoTable is met where no block learns, or where all learn into sets of others.
var errNoTable = errors.New("no nft table is made, because no block names a route or all use sets of others")

// Unredirected is what `redirect_dns` asks for and cannot be had, nil where all of it
// can. table says whether the nft table is ours to make.
func Unredirected(s nft.Spec, table bool) error {
	if !s.Config.Redirect.On {
		return nil
	}
	if !table {
		return fmt.Errorf("%s: redirect_dns redirects nothing: %w", s.Config.File, errNoTable)
	}
	if missing := s.Unanswered(); len(missing) > 0 {
		return fmt.Errorf("%s: redirect_dns: questions by %s are not redirected: no block of the Corefile answers plain DNS there on an address that lan can reach",
			s.Config.File, strings.Join(missing, ", "))
	}
	return nil
}

// unevicted is a wish for `evict: true` where the marks of flows are others' business.
func unevicted(cfg *gateway.Config) error {
	for _, r := range cfg.Routes {
		if r.Evict {
			return fmt.Errorf("%s: routes.%s.evict moves nothing: %w", cfg.File, r.Name, errNoTable)
		}
	}
	return nil
}
