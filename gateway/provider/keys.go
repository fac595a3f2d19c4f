package provider

import (
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// unknownKey reports a key that this section does not have, with the best guess at
// what was meant.
func (p *parser) unknownKey(s setting) {
	here, there, other := interfaceKeys, peerKeys, "[Peer]"
	if p.section == "peer" {
		here, there, other = there, here, "[Interface]"
	}
	switch {
	case isAmneziaKey(s.key):
		if !p.amnezia { // the others say the same
			p.problem(s, "", "a key of AmneziaWG, which hides WireGuard and needs a server of its kind",
				"want a plain WireGuard file from the provider, or the tunnel made by awg-quick with Table = off, and the route with interface: in place of wireguard:")
		}
		p.amnezia = true
	case slices.ContainsFunc(there, func(k string) bool { return strings.EqualFold(k, s.key) }):
		p.problem(s, "", "in the wrong section", "want it below "+other)
	default:
		p.problem(s, "", "unknown key", problem.DidYouMean(s.key, here))
	}
}

// interfaceKeys and peerKeys are the keys of wg-quick(8) and wg(8).
var (
	interfaceKeys = []string{"PrivateKey", "ListenPort", "Address", "DNS", "MTU", "FwMark", "Table",
		"SaveConfig", "PreUp", "PostUp", "PreDown", "PostDown"}
	peerKeys = []string{"PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"}
)

// isAmneziaKey knows the keys by which AmneziaWG shapes its packets.
func isAmneziaKey(key string) bool {
	switch strings.ToLower(key) {
	case "jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4",
		"i1", "i2", "i3", "i4", "i5", "j1", "j2", "j3", "itime", "advancedsecurity":
		return true
	}
	return false
}
