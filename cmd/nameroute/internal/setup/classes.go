package setup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// class is what a configuration does with a name.
type class struct {
	route     string // "" is the WAN
	device    string // the interface behind a resolver's '@'
	resolvers string // separated by spaces; "" is the usual ones
	answer    string // fixed addresses, separated by spaces; blocked for none
}

// blocked is the answer of names that do not exist.
const blocked = "none"

// classes returns the class of every name in the configuration, and in a fixed order the
// classes that differ from the default.
func (c *dnsmasqConf) classes() (of map[string]class, order []class) {
	of = map[string]class{}
	for _, m := range []map[string][]string{c.servers, c.sets, c.answers} {
		for name := range m {
			servers, _ := longestMatch(c.servers, name)
			sets, _ := longestMatch(c.sets, name)
			k := class{route: routeName(sets)}
			if answer, ok := longestMatch(c.answers, name); ok && len(longestName(c.answers, name)) >= len(longestName(c.servers, name)) {
				of[name] = class{answer: cmp.Or(strings.TrimSpace(strings.Join(answer, " ")), blocked)}
				continue
			}
			var addresses []string
			for _, s := range servers {
				address, device, _ := strings.Cut(s, "@")
				addresses = append(addresses, address)
				if k.device == "" {
					k.device = device
				}
			}
			k.resolvers = strings.Join(addresses, " ")
			of[name] = k
		}
	}
	for _, k := range of {
		if k != (class{}) && !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	slices.SortFunc(order, func(a, b class) int {
		return strings.Compare(a.sortKey(), b.sortKey())
	})
	return of, order
}

func (k class) sortKey() string { return k.route + " " + k.resolvers + " " + k.device + " " + k.answer }

// longestName returns the name in m that is a name itself, or the nearest above it.
func longestName[T any](m map[string]T, name string) string {
	for {
		if _, ok := m[name]; ok {
			return name
		}
		_, above, found := strings.Cut(name, ".")
		if !found {
			return ""
		}
		name = above
	}
}

// longestMatch returns the value of a name, or of the nearest name above it.
func longestMatch[T any](m map[string]T, name string) (v T, ok bool) {
	v, ok = m[longestName(m, name)]
	return v, ok
}

// routeName names a route after sets: vpn for vpn4 and vpn6, and for 4#inet#fw4#vpn4.
func routeName(sets []string) string {
	var words []string
	for _, s := range sets {
		s = strings.TrimRight(strings.ToLower(s[strings.LastIndexByte(s, '#')+1:]), "46")
		if s = validName(strings.TrimRight(validName(s), "-_")); !slices.Contains(words, s) {
			words = append(words, s)
		}
	}
	slices.Sort(words)
	name := strings.Join(words, "-")
	return name[:min(len(name), gateway.MaxNameLen-4)] // a list's name has a number behind it
}

// validName makes a text a valid name for a route.
func validName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s)
	if s == "" || s[0] < 'a' || s[0] > 'z' || gateway.Reserved(s) {
		s = "set-" + s
	}
	return s
}

// listNames names a list for each class: after its route, or what is done with its names.
func listNames(order []class) map[class]string {
	names, taken := map[class]string{}, map[string]int{}
	for _, k := range order {
		name := k.route
		switch {
		case name != "":
		case k.answer == blocked:
			name = "blocked"
		case k.answer != "":
			name = "fixed"
		default:
			name = "direct"
		}
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, taken[name])
		}
		names[k] = name
	}
	return names
}
