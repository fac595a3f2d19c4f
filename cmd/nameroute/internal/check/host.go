package check

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
)

// hostCheck is this machine, as far as its pitfalls go. Everything is looked at once
// and nothing is changed.
type host struct {
	hostfs.Root
	cfg      *gateway.Config
	lan      []string // interfaces that are there now
	wan      []string
	egresses []string             // of routes
	defaults []policy.KernelRoute // of the WAN
	own      map[netip.Addr]bool
	rules    *nftsim.Ruleset
}

// checkPitfalls looks for what else on this machine would get in the way.
func checkPitfalls(cfg *gateway.Config, listeners []firewall.Listener, built time.Time, r *report) {
	h := newHost(cfg)
	var err error
	if h.rules, err = nftsim.Read(); err != nil {
		r.warn("firewall: %v: other programs' rules are not looked at", err)
	}
	h.checkKernel(r, func() (bool, error) { return nft.TableExists(gateway.TableName) })
	h.checkForwarding(r)
	h.checkReversePath(r)
	if h.rules != nil {
		h.checkForward(r)
		h.checkInput(r, listeners)
		h.checkNAT(r)
	}
	h.checkRedirect(r, listeners)
	h.checkLegacyForward(r)
	h.checkForeign(r)
	h.checkOverlap(r)
	h.checkTunnels(r)
	h.checkMTU(r)
	h.checkIPv6(r)
	h.checkDHCP(r)
	h.checkClock(r, time.Now(), built)
}

func newHost(cfg *gateway.Config) *host {
	h := &host{cfg: cfg}
	there := func(link string) bool { _, err := net.InterfaceByName(link); return err == nil }
	for _, l := range cfg.LAN {
		if there(l) {
			h.lan = append(h.lan, l)
		}
	}
	for _, l := range policy.EgressLinks(cfg) {
		if !slices.Contains(h.egresses, l) {
			h.egresses = append(h.egresses, l)
		}
	}
	h.defaults, _ = policy.WANDefaults(cfg) // said where the interfaces are looked at
	h.wan = policy.LinksOf(h.defaults)
	h.own, _ = policy.OwnAddrs() // as above
	return h
}
