package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/pkg/ownaddrs"
)

// errNoTable says that no nft table of ours is wanted: see Requirements.wantsTable.
var errNoTable = errors.New("no nft table is built, because no block names a route or all learn into other programs' sets")

// CheckRedirect returns what `redirect_dns` asks for and cannot be had, nil where all of
// it can. table says whether the nft table is ours to build.
func CheckRedirect(s firewall.Spec, table bool) error {
	if !s.Config.Redirect.On {
		return nil
	}
	if !table {
		return fmt.Errorf("%s: redirect_dns redirects nothing: %w", s.Config.File, errNoTable)
	}
	if missing := s.Unanswered(); len(missing) > 0 {
		return fmt.Errorf("%s: redirect_dns: queries by %s are not redirected: no block of the Corefile answers plain DNS there on an address that lan can reach",
			s.Config.File, strings.Join(missing, ", "))
	}
	return nil
}

// checkEvict returns an error for `evict: true` where the marks of flows are another
// program's business.
func checkEvict(cfg *gateway.Config) error {
	for _, r := range cfg.Routes {
		if r.Evict {
			return fmt.Errorf("%s: routes.%s.evict has no effect: %w", cfg.File, r.Name, errNoTable)
		}
	}
	return nil
}

// resetRedirectedFlows deletes the flows of queries that were decided by another
// redirection than the one in force: a client that queries from one port again and again
// would stay with it. The box's own flows are left alone; the answers of its upstreams
// would be dropped. c.work is held.
func (c *Controller) resetRedirectedFlows(s firewall.Spec) error {
	if now := s.Config.Redirect; c.redirected.On == now.On && slices.Equal(c.redirected.Except, now.Except) {
		return nil
	}
	own, err := ownaddrs.Read()
	if err != nil {
		return err
	}
	local := ranges{s.DNSLocal(gateway.V4), s.DNSLocal(gateway.V6)}
	_, err = c.system.DeleteFlows(gateway.Mark{}, func(f conntrack.Flow) bool {
		return f.Port == firewall.PortDNS && !own[f.Src] && !local.has(f.Dst)
	})
	if err == nil {
		c.redirected = s.Config.Redirect
	}
	return err
}
