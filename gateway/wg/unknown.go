package wg

import "strings"

// interfaceKeys and peerKeys are the keys of wg-quick(8) and wg(8).
func interfaceKeys() []string {
	return []string{"PrivateKey", "ListenPort", "Address", "DNS", "MTU", "FwMark", "Table",
		"SaveConfig", "PreUp", "PostUp", "PreDown", "PostDown"}
}

func peerKeys() []string {
	return []string{"PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"}
}

// unknown reports a key that this section does not have, with the best guess at
// what was meant.
func (p *parser) unknown(s setting) {
	here, there, other := interfaceKeys(), peerKeys(), "[Peer]"
	if p.section == "peer" {
		here, there, other = there, here, "[Interface]"
	}
	want := "want one of " + strings.Join(here, ", ")
	switch near := nearest(s.key, here); {
	case isAmnezia(s.key):
		want = "is AmneziaWG, which hides WireGuard and needs a server of its kind: want a plain WireGuard file from the provider"
	case nearest(s.key, there) != "" && strings.EqualFold(nearest(s.key, there), s.key):
		want = "want it below " + other
	case near != "":
		want = "no such key: want " + near
	}
	p.problem(s, show(s.key, s.value), want)
}

// isAmnezia knows the keys by which AmneziaWG shapes its packets.
func isAmnezia(key string) bool {
	switch strings.ToLower(key) {
	case "jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4",
		"i1", "i2", "i3", "i4", "i5", "j1", "j2", "j3", "itime", "advancedsecurity":
		return true
	}
	return false
}

// nearest finds the known key that differs least; "" where none is near.
func nearest(key string, known []string) string {
	best, at := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(key), strings.ToLower(k)); d < at && d < len(k)-1 {
			best, at = k, d
		}
	}
	return best
}

// distance is the number of edits (Levenshtein) between two short words.
func distance(a, b string) int {
	if len(a) > 32 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			corner, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, corner+cost)
		}
	}
	return row[len(b)]
}
