package check

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/lists"
)

// checkLists reads every list as a start would.
func checkLists(cfg *gateway.Config, r *report) {
	for _, l := range cfg.Lists {
		rep, err := lists.Check(l)
		if src, fetched := cfg.Source(l.Name); fetched && errors.Is(err, fs.ErrNotExist) {
			r.warn("list %s: not fetched yet from %s: a running nameroute fetches it, or run `nameroute update %s`", l.Name, src.URLs[0], l.Name)
			continue
		}
		if err != nil {
			r.wrong(exit.List, corecheck.ListProblem(cfg, l, err))
			continue
		}
		if rep.Entries() == 0 && rep.Prefixes == 0 {
			r.warn("list %s: %s is empty", l.Name, l.File)
			continue
		}
		r.ok("list %s: %s, %s", l.Name, contentOf(rep), rep.Format)
		if rep.Entries() == 0 && !slices.ContainsFunc(cfg.Choices(), func(route gateway.Route) bool { return slices.Contains(route.Prefixes, l.Name) }) {
			r.warn("list %s: it holds prefixes only, which no route uses: name it in prefixes: of a route", l.Name)
		}
		for _, s := range rep.Samples {
			r.warn("list %s: %s: %v", l.Name, l.File, s)
		}
		if more := rep.Skipped - len(rep.Samples); more > 0 {
			r.warn("list %s: %s more skipped as unparsable", l.Name, output.Count(more, "line"))
		}
	}
}

// contentOf counts what a list holds.
func contentOf(rep lists.Report) string {
	switch {
	case rep.Prefixes == 0:
		return output.Count(rep.Entries(), "entry")
	case rep.Entries() == 0:
		return prefixes(rep.Prefixes)
	}
	return output.Count(rep.Entries(), "entry") + ", " + prefixes(rep.Prefixes)
}

func prefixes(n int) string {
	if n == 1 {
		return "1 prefix"
	}
	return fmt.Sprintf("%d prefixes", n)
}

// checkProviders reads the WireGuard files of the routes.
func checkProviders(cfg *gateway.Config, r *report) {
	for _, route := range cfg.Routes {
		if route.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		conf, err := provider.Load(route.Egress.File)
		if errors.Is(err, fs.ErrNotExist) {
			err = config.ProblemAt(cfg, "routes."+route.Name+".wireguard", "", err.Error(), "create the file, or correct its name")
		}
		if err == nil {
			err = conf.CheckHooks(route.IgnoreHooks)
		}
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			r.unknown("route %s: %v: run check as root", route.Name, err)
			continue
		}
		if err != nil {
			for _, err := range flatten(err) {
				r.wrong(exit.Host, fmt.Errorf("route %s stays down: %w", route.Name, err))
			}
			continue
		}
		for _, n := range conf.Ignored {
			r.warn("%s", n)
		}
		v4, v6 := conf.Families()
		switch {
		case !v4 && !v6:
			r.wrong(exit.Host, fmt.Errorf("route %s: %s: no address family has both an Address and AllowedIPs", route.Name, route.Egress.File))
		case !v6:
			r.ok("route %s: %s; no IPv6: AAAA queries for its names get NODATA", route.Name, output.Count(len(conf.Peers), "peer"))
		default:
			r.ok("route %s: %s", route.Name, output.Count(len(conf.Peers), "peer"))
		}
		checkAllowed(route, conf, r)
		if route.AllowedIPs {
			checkAllowedFamilies(route, conf, r)
		}
		reportInbound(route, r)
	}
}

// reportInbound prints what becomes of connections that begin at a tunnel's far end.
func reportInbound(route gateway.Route, r *report) {
	if route.AcceptInbound {
		r.warn("route %s: inbound: accept: the tunnel's far end can connect to this box and the LAN as far as your firewall lets %s", route.Name, route.Egress.Link)
		return
	}
	r.ok("route %s: new connections from the tunnel are refused", route.Name)
}
