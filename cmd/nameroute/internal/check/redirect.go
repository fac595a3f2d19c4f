package check

import (
	"fmt"

	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// checkRedirect looks whether `redirect_dns` can do what it says, and whether somebody
// else's rule sends the same questions somewhere.
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
			r.warn("nft chain %s%s sends the questions of %s on, too, and which of it and redirect_dns wins depends on their order: keep one of the two", c, by, lan)
		}
	}
}
