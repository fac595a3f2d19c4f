package nft_test

import (
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

func init() {
	nft.Desired = func(s nft.Spec) *nft.Table { return firewall.Desired(spec(s)) }
	nft.Unanswered = func(s nft.Spec) []string { return spec(s).Unanswered() }
	nft.ReadCounts = func() (nft.Counts, error) {
		c, err := firewall.ReadCounts()
		return nft.Counts(c), err
	}
}

func spec(s nft.Spec) firewall.Spec {
	out := firewall.Spec{Config: s.Config, WANLinks: s.WANLinks, Local: s.Local, Prefixes: s.Prefixes, Removed: s.Removed, Egress: map[string]firewall.Egress{}}
	for name, e := range s.Egress {
		out.Egress[name] = firewall.Egress(e)
	}
	for _, l := range s.Listeners {
		out.Listeners = append(out.Listeners, firewall.Listener(l))
	}
	return out
}
