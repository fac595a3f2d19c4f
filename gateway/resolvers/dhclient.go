package resolvers

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// ofDHClient reads dhclient.leases(5): the last lease of an interface counts, if it has
// not expired.
func (b *box) ofDHClient(file string, text []byte) []entry {
	leases := map[string][]entry{} // by interface and family
	var keys []string
	var lease struct {
		link, family string
		expired      bool
		servers      []entry
	}
	depth := 0
	eachLine(text, func(n int, line string, _ []string) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ";")
		words := strings.Fields(strings.ReplaceAll(line, ",", " "))
		switch {
		case strings.HasSuffix(line, "{"):
			if depth++; depth == 1 {
				lease.link, lease.family, lease.expired, lease.servers = "", words[0], false, nil
			}
		case line == "}" && depth > 0:
			if depth--; depth > 0 {
				return
			}
			key := lease.family + " " + lease.link
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
			if lease.expired {
				lease.servers = nil
			}
			leases[key] = lease.servers
		case len(words) == 2 && words[0] == "interface":
			lease.link = strings.Trim(words[1], `"`)
		case len(words) >= 2 && words[0] == "expire":
			lease.expired = hasPassed(words[1:])
		case len(words) > 2 && words[0] == "option" && (words[1] == "domain-name-servers" || words[1] == "dhcp6.name-servers"):
			for _, w := range words[2:] {
				lease.servers = b.add(lease.servers, file, n, w, lease.link)
			}
		}
	})
	var all []entry
	for _, k := range keys {
		all = append(all, leases[k]...)
	}
	return all
}

// hasPassed reads a time of dhclient.leases(5): `WEEKDAY YYYY/MM/DD HH:MM:SS` in UTC,
// `epoch SECONDS` or `never`.
func hasPassed(words []string) bool {
	switch {
	case words[0] == "epoch" && len(words) > 1:
		s, err := strconv.ParseInt(words[1], 10, 64)
		return err == nil && time.Unix(s, 0).Before(time.Now())
	case len(words) > 2:
		t, err := time.Parse("2006/01/02 15:04:05", words[1]+" "+words[2])
		return err == nil && t.Before(time.Now())
	}
	return false
}
