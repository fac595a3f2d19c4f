package firewall

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
)

// mss clamps the MSS to the egress's MTU in one direction: of SYNs that come in through
// it (forward) or leave through it, the box's own included (postrouting).
func (d *builder) mss(chain string, direction func(link string) rule.Part) []rule.Rule {
	headers := map[gateway.Family]int{gateway.V4: 20 + 20, gateway.V6: 40 + 20} // RFC 6691, RFC 8200 8.3
	var rules []rule.Rule
	for _, r := range d.Config.Routes {
		for _, link := range d.links(r) {
			for _, f := range gateway.Families {
				size := d.Egress[r.Name].MTU - headers[f]
				if size <= 0 || size > 65535 {
					continue
				}
				rules = append(rules, rule.New(r.Name+": MSS fits its MTU",
					rule.NFProto(f), direction(link), rule.TCPSYN(), rule.MaxSegment(uint16(size))))
			}
		}
	}
	return d.gate(chain, "opens a connection", []rule.Part{rule.TCPSYN()}, rules)
}
