package main

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/policy"
)

// hostCheck is this machine, as far as its pitfalls go. Everything is looked at once
// and nothing is changed.
type hostCheck struct {
	root     string // before every path, for tests; "" is the machine itself
	cfg      *gateway.Config
	lan      []string // interfaces that are there now
	wan      []string
	egresses []string             // of routes
	defaults []policy.KernelRoute // of the WAN
	own      map[netip.Addr]bool
	rules    *ruleset
}

// checkPitfalls looks for what else on this machine would get in the way.
func checkPitfalls(cfg *gateway.Config, listeners []firewall.Listener, r *report) {
	h := newHostCheck(cfg)
	var err error
	if h.rules, err = readRuleset(); err != nil {
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
	h.checkClock(r, time.Now(), buildTime())
}

func newHostCheck(cfg *gateway.Config) *hostCheck {
	h := &hostCheck{cfg: cfg}
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

func (h *hostCheck) read(path string) (string, bool) {
	text, err := os.ReadFile(h.root + path)
	return string(text), err == nil
}

func (h *hostCheck) exists(path string) bool {
	_, err := os.Stat(h.root + path)
	return err == nil
}

// glob finds files, by their names without root.
func (h *hostCheck) glob(pattern string) []string {
	found, _ := filepath.Glob(h.root + pattern) // the patterns are ours and well formed
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], h.root)
	}
	return found
}

// runs reports whether a process of that name runs. The kernel cuts names to 15 bytes.
func (h *hostCheck) runs(name string) bool {
	for _, comm := range h.glob("/proc/[0-9]*/comm") {
		if text, ok := h.read(comm); ok && strings.TrimSpace(text) == name {
			return true
		}
	}
	return false
}
