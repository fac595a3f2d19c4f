package policy

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// WANDefaults returns the default kernel routes of table main that the WAN follows now.
// It changes nothing.
func WANDefaults(cfg *gateway.Config) ([]KernelRoute, error) {
	k, err := newReader()
	if err != nil {
		return nil, err
	}
	defer k.close()
	names, err := k.linkNames()
	if err != nil {
		return nil, err
	}
	var in Inputs
	for _, f := range k.families {
		defaults, err := k.mainDefaults(f, names)
		if err != nil {
			return nil, err
		}
		in.Defaults = append(in.Defaults, defaults...)
	}
	routes, _ := wanDefaults(cfg, in)
	return routes, nil
}

// LinksOf returns the interfaces that kernel routes leave by.
func LinksOf(routes []KernelRoute) []string {
	var links []string
	for _, r := range routes {
		for _, l := range r.Links() {
			if !slices.Contains(links, l) {
				links = append(links, l)
			}
		}
	}
	return links
}
