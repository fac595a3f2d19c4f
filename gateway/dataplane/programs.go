package dataplane

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/programs"
)

// missingPrograms says of which users, groups and cgroups packets cannot be told. A service
// that does not run sends none.
func missingPrograms(spec firewall.Spec) error {
	var errs []error
	for _, class := range spec.Config.Clients {
		for _, why := range spec.Programs[class.Name].Missing {
			if !strings.HasSuffix(why, programs.NotNow) {
				errs = append(errs, fmt.Errorf("clients %s: %s", class.Name, why))
			}
		}
		if len(class.Cgroups) > 0 && spec.NoCgroups {
			errs = append(errs, fmt.Errorf("clients %s: nftables of this kernel cannot ask for cgroups (Linux 5.13, CONFIG_NFT_SOCKET): want user or group", class.Name))
		}
	}
	return errors.Join(errs...)
}
