package check

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/ownaddrs"
	"github.com/nameroute/nameroute/gateway/policy"
)

// host is this machine, as far as other programs and the kernel can get in the way.
type host struct {
	hostfs.Root
	cfg      *gateway.Config
	lan      []string // interfaces that exist
	wan      []string
	egresses []string             // interfaces of routes
	defaults []policy.KernelRoute // of the WAN
	own      map[netip.Addr]bool
	rules    *nftsim.Ruleset // of other programs; nil where they cannot be read
}

// checkHost checks the kernel and what other programs have configured.
func checkHost(cfg *gateway.Config, core *corefile.File, built time.Time, r *report) {
	h, listeners := newHost(cfg), listenersOf(core)
	var err error
	if h.rules, err = nftsim.Read(); err != nil {
		r.unknown("firewall: %v: other programs' rules are not checked: run check as root", err)
	}
	h.checkKernel(r, func() (bool, error) { return nft.TableExists(gateway.TableName) })
	h.checkForwarding(r)
	h.checkReversePath(r)
	if h.rules != nil {
		h.checkForward(r)
		h.checkInput(r, listeners)
		h.checkNAT(core, r)
	}
	h.checkRedirect(r, listeners)
	h.checkLegacyForward(r)
	h.checkMarks(r)
	h.checkNetworkd(r)
	h.checkOverlap(r)
	h.checkTunnels(r)
	h.checkMTU(r)
	h.checkIPv6(r)
	h.checkClasses(r)
	h.checkDHCP(r)
	h.checkClock(r, time.Now(), built)
}

func newHost(cfg *gateway.Config) *host {
	h := &host{cfg: cfg}
	for _, l := range cfg.LAN {
		if _, err := net.InterfaceByName(l); err == nil {
			h.lan = append(h.lan, l)
		}
	}
	for _, l := range policy.EgressLinks(cfg) {
		if !slices.Contains(h.egresses, l) {
			h.egresses = append(h.egresses, l)
		}
	}
	h.defaults, _ = policy.WANDefaults(cfg) // checkLinks reports the error
	h.wan = policy.LinksOf(h.defaults)
	h.own, _ = ownaddrs.Read() // without them, DHCP servers are not checked
	return h
}
