package dnshalf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/policy"
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
func Unredirected(s firewall.Spec, table bool) error {
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

// turnQuestions ends the flows of questions that were decided by another redirection than
// the one in force: a client that asks from one port again and again would stay with it.
// The box's own are not meant; its upstreams' answers would find no way in.
func (h *Half) turnQuestions(s firewall.Spec) error {
	if now := s.Config.Redirect; h.turned.On == now.On && slices.Equal(h.turned.Except, now.Except) {
		return nil
	}
	own, err := policy.OwnAddrs()
	if err != nil {
		return err
	}
	kept := ranges{s.Excluded(gateway.V4), s.Excluded(gateway.V6)}
	_, err = conntrack.Delete(gateway.Mark{}, func(f conntrack.Flow) bool {
		return f.Port == firewall.PortDNS && !own[f.Src] && !kept.has(f.Dst)
	})
	if err == nil {
		h.turned = s.Config.Redirect
	}
	return err
}
