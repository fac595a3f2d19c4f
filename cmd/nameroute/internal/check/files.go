package check

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// checkCorefile checks the Corefile and returns it parsed, nil where that fails. Without a
// valid gateway.yaml only its form is checked.
func checkCorefile(o Options, cfg *gateway.Config, r *report) *corefile.File {
	raw, err := os.ReadFile(o.Corefile)
	if err != nil {
		r.wrong(exit.Corefile, paths.ReadError("Corefile", "corefile", o.Corefile, err))
		return nil
	}
	text, err := corefile.Expand(o.Corefile, raw)
	if err != nil {
		r.wrong(exit.Corefile, err)
		return nil
	}
	f, err := text.Parse()
	if problems := corecheck.Check(text, cfg); len(problems) > 0 || err != nil {
		r.wrong(exit.Corefile, errors.Join(problems...)) // err is one of them
		return f
	}
	r.ok("%s: %s", o.Corefile, output.Count(len(f.Blocks), "block"))
	for _, b := range corecheck.Describe(f) {
		r.ok("  %s", b)
	}
	return f
}

// listenersOf returns what a Corefile listens on: nothing where it cannot be parsed.
func listenersOf(f *corefile.File) []firewall.Listener {
	if f == nil {
		return nil
	}
	return instance.Listeners(f)
}

// checkLinks looks for the interfaces that the files name.
func checkLinks(cfg *gateway.Config, r *report) {
	if len(cfg.LAN) == 0 {
		r.warn("%s: lan is empty: only this box itself is answered; name the interfaces of your clients, as in lan: [br-lan]", cfg.File)
	}
	for _, name := range cfg.LAN {
		if _, err := net.InterfaceByName(name); err != nil {
			r.warn("lan: there is no interface %s now; it is waited for", name)
		}
	}
	for _, route := range cfg.Routes {
		if k := route.Egress.Kind; k == gateway.EgressWireGuard || route.Egress.Link == "" {
			continue
		}
		if _, err := net.InterfaceByName(route.Egress.Link); err != nil {
			r.warn("route %s: there is no interface %s now; the route is closed until it is there", route.Name, route.Egress.Link)
		}
	}
	defaults, err := policy.WANDefaults(cfg)
	switch {
	case err != nil:
		r.wrong(exit.Host, fmt.Errorf("read the WAN's default route: %w", err))
	case len(defaults) == 0:
		r.warn("there is no default route by the WAN now; it is waited for")
	default:
		var lines []string
		for _, d := range defaults {
			lines = append(lines, d.String())
		}
		r.ok("WAN: %s", strings.Join(lines, ", "))
	}
}

// checkHost looks at what the kernel and other programs must allow.
func checkHost(o Options, f *corefile.File, r *report) {
	if err := privilege.Need(); err != nil {
		r.wrong(exit.Denied, err)
	}
	if err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK); err != nil {
		r.warn("/dev/net/tun: %v: without it and without WireGuard in the kernel no tunnel can be made (modprobe tun; docker: --device /dev/net/tun)", err)
	}
	if control.AnyRuns(o.Run) {
		r.ok("a nameroute runs; its ports are not looked at")
		return
	}
	for _, err := range ports.InUse(listenersOf(f)) {
		r.wrong(exit.Port, err)
	}
}
