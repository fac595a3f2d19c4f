package check

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkForwarding checks that the box forwards, or that nameroute can enable it.
func (h *host) checkForwarding(r *report) {
	for _, s := range []struct{ key, docker string }{
		{"net.ipv4.ip_forward", "net.ipv4.ip_forward=1"},
		{"net.ipv6.conf.all.forwarding", "net.ipv6.conf.all.forwarding=1"},
	} {
		value, ok := h.sysctl(s.key)
		switch {
		case !ok || value == "1":
		case h.sysctlsReadOnly():
			r.warn("%s is %s and /proc/sys is read-only: nothing is forwarded: set it on the host (docker: --sysctl %s)", s.key, value, s.docker)
		default:
			r.ok("%s is %s: nameroute enables it once the nft table exists", s.key, value)
		}
	}
}

// checkReversePath checks rp_filter: a strict one (1) drops the replies of a route's flows.
// The larger one of all and of the interface counts (Documentation/networking/ip-sysctl).
func (h *host) checkReversePath(r *report) {
	all, _ := h.sysctl("net.ipv4.conf.all.rp_filter")
	for _, link := range slices.Concat(h.egresses, h.wan) {
		own, ok := h.sysctl("net.ipv4.conf." + sysctlName(link) + ".rp_filter")
		if !ok || max(all, own) != "1" {
			continue
		}
		if h.sysctlsReadOnly() {
			r.warn("rp_filter is 1 (strict) on %s and /proc/sys is read-only: replies that arrive on it are dropped: set net.ipv4.conf.%s.rp_filter=2 on the host", link, sysctlName(link))
			continue
		}
		r.ok("rp_filter is 1 (strict) on %s: nameroute sets it to 2 (loose), and `nameroute down` restores it", link)
	}
}

// sysctlName returns an interface's name as sysctl(8) writes it, with slashes for dots.
func sysctlName(link string) string { return strings.ReplaceAll(link, ".", "/") }

// sysctl returns the value of a key in the form of sysctl(8): net.ipv4.conf.eth0/1.rp_filter.
func (h *host) sysctl(key string) (string, bool) {
	path := strings.NewReplacer(".", "/", "/", ".").Replace(key)
	text, ok := h.Read("/proc/sys/" + path)
	return strings.TrimSpace(text), ok
}

// sysctlsReadOnly reports whether /proc/sys is read-only, as in most containers. That this
// user may not write it says nothing of the user of the service.
func (h *host) sysctlsReadOnly() bool {
	return errors.Is(unix.Access(string(h.Root)+"/proc/sys/net/ipv4/ip_forward", unix.W_OK), unix.EROFS)
}
