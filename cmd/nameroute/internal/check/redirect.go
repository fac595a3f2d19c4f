package check

import (
	"fmt"

	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// checkRedirect checks that redirect_dns has a listener to redirect to, and that no rule
// of another program redirects the same queries.
func (h *host) checkRedirect(r *report, listeners []firewall.Listener) {
	if !h.cfg.Redirect.On || len(h.cfg.LAN) == 0 {
		return
	}
	if err := dataplane.CheckRedirect(firewall.Spec{Config: h.cfg, Listeners: listeners}, true); err != nil {
		r.warn("%v", err)
	}
	if h.rules == nil {
		return
	}
	for _, lan := range h.lan {
		if c := h.rules.RedirectsPort(lan, 53); c != nil {
			by := ""
			if m := h.rules.Manager(c.Key); m != "" {
				by = fmt.Sprintf(" (%s)", m)
			}
			r.warn("nft chain %s%s also redirects the DNS queries of %s; whether it or redirect_dns wins depends on their priorities: use only one", c, by, lan)
		}
	}
}
