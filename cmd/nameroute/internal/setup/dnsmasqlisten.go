package setup

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// addListen reads listen-address.
func (h *homeConf) addListen(value string) (reason string) {
	for text := range strings.SplitSeq(value, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return reasonAddress
		}
		if !slices.Contains(h.listen, a.String()) {
			h.listen = append(h.listen, a.String())
		}
	}
	return ""
}

// setPort reads port. 0 has dnsmasq answer no queries.
func (h *homeConf) setPort(value string) (reason string) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		return reasonPort
	}
	h.port = ""
	if n != 0 && n != 53 {
		h.port = strconv.FormatUint(n, 10)
	}
	return ""
}

// listening returns a block with the addresses and the port that dnsmasq listened on: those
// of listen-address, and with them those of the interfaces and of lo.
func (h *homeConf) listening(b []directive) []directive {
	zone := "."
	if len(b) > 0 && strings.HasPrefix(b[0].text, zoneDirective) {
		zone, b = strings.TrimPrefix(b[0].text, zoneDirective), b[1:]
	}
	if h.port != "" {
		zone += ":" + h.port
	}
	head := []directive{{text: zoneDirective + zone}}
	if len(h.listen) > 0 {
		on := slices.Clone(h.listen)
		if len(h.lan) > 0 {
			on = slices.Concat(on, h.lan, []string{"lo"})
		}
		head = append(head, directive{text: "bind " + strings.Join(on, " ")})
	}
	return append(head, b...)
}
