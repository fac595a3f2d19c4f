package check

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkForwarding: a box that does not forward serves nobody but itself.
func (h *host) checkForwarding(r *report) {
	for _, s := range []struct{ key, docker string }{
		{"net.ipv4.ip_forward", "net.ipv4.ip_forward=1"},
		{"net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.forwarding=1"},
	} {
		value, ok := h.sysctl(s.key)
		switch {
		case !ok || value == "1":
		case h.sysctlsReadOnly():
			r.warn("%s is %s and /proc/sys is read-only here: nothing is forwarded: set it on the host (docker: --sysctl %s)", s.key, value, s.docker)
		default:
			r.ok("%s is %s: nameroute switches it on, when the nft table stands", s.key, value)
		}
	}
}

// checkReversePath: with a strict reverse-path filter (rp_filter 1) an interface drops
// the replies of a route's flows. The larger of all's and the interface's value counts
// (Documentation/networking/ip-sysctl).
func (h *host) checkReversePath(r *report) {
	all, _ := h.sysctl("net.ipv4.conf.all.rp_filter")
	for _, link := range slices.Concat(h.egresses, h.wan) {
		own, ok := h.sysctl("net.ipv4.conf." + sysctlName(link) + ".rp_filter")
		if !ok || max(all, own) != "1" {
			continue
		}
		if h.sysctlsReadOnly() {
			r.warn("rp_filter is 1 (strict) on %s and /proc/sys is read-only here: replies that come in by it are dropped: set net.ipv4.conf.%s.rp_filter=2 on the host", link, sysctlName(link))
			continue
		}
		r.ok("rp_filter is 1 (strict) on %s: nameroute makes it loose (2), and `nameroute down` puts it back", link)
	}
}

// sysctlName is an interface's name in a sysctl's, where dots stand for slashes.
func sysctlName(link string) string { return strings.ReplaceAll(link, ".", "/") }

// sysctl reads net.ipv4.conf.eth0/1.rp_filter, as sysctl(8) writes it.
func (h *host) sysctl(key string) (string, bool) {
	path := strings.NewReplacer(".", "/", "/", ".").Replace(key)
	text, ok := h.Read("/proc/sys/" + path)
	return strings.TrimSpace(text), ok
}

// sysctlsReadOnly: as in most containers.
func (h *host) sysctlsReadOnly() bool {
	return unix.Access(string(h.Root)+"/proc/sys/net/ipv4/ip_forward", unix.W_OK) != nil
}
