package policy

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// WANDefaults are the default kernel routes that the WAN is followed by now, as
// ip(8) prints them, for `check`. It changes nothing.
func WANDefaults(cfg *gateway.Config) ([]string, error) {
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
	var lines []string
	for _, r := range routes {
		// Those of table main are not ours, and text prints ours.
		text := strings.Replace(r.text(), fmt.Sprintf(" proto %d", gateway.Protocol), "", 1)
		lines = append(lines, fmt.Sprintf("IPv%d %s", r.Family, text))
	}
	return lines, nil
}
