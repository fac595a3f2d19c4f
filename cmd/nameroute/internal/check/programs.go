package check

import (
	"os"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/gateway/programs"
)

// checkPrograms finds users, groups and cgroups that are not there, and ways by which names
// are looked up without a query.
func checkPrograms(cfg *gateway.Config, r *report) {
	found := programs.Find(cfg.Clients)
	routed := ""
	for _, class := range cfg.Clients {
		for _, why := range found[class.Name].Missing {
			if strings.HasPrefix(why, "cgroup ") && strings.HasSuffix(why, programs.NotNow) {
				r.ok("clients %s: %s: followed when its service starts", class.Name, why)
				continue
			}
			r.warn("clients %s: %s: no program is of the class by it", class.Name, why)
		}
		if class.Route != "" && class.HasPrograms() {
			routed = class.Name
		}
	}
	if routed == "" {
		return
	}
	if hosts := hostsOf("/etc/nsswitch.conf"); slices.Contains(hosts, "resolve") {
		r.warn("clients %s: /etc/nsswitch.conf has `resolve` among hosts: programs look names up by systemd-resolved's socket, so that its queries are not the class's: remove it, so that `dns` counts", routed)
	}
	for _, socket := range []string{"/run/nscd/socket", "/var/run/nscd/socket"} {
		if _, err := os.Stat(socket); err == nil {
			r.warn("clients %s: nscd runs (%s) and looks names up for all programs, so that its queries are not the class's: stop it, or set enable-cache hosts no", routed, socket)
			break
		}
	}
}

// hostsOf returns the sources of host names, in nsswitch.conf(5).
func hostsOf(file string) []string {
	data, err := statefile.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "hosts:" {
			return words[1:]
		}
	}
	return nil
}
