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
	var in Inputs
	if in.Links, err = k.links(); err == nil {
		err = k.readMain(cfg, &in)
	}
	if err != nil {
		return nil, err
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
