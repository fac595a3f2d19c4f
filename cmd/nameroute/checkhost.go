package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// checkCore looks at the Corefile and returns its text, imports in their places. Without a gateway.yaml that
// is right, only what needs none is looked at.
func checkCore(o *options, cfg *gateway.Config, r *report) []byte {
	text, err := os.ReadFile(o.corefile)
	if err != nil {
		r.wrong(exit.Corefile, readError("Corefile", "corefile", o.corefile, err))
		return nil
	}
	whole, err := corefile.Expand(o.corefile, text)
	if err != nil {
		r.wrong(exit.Corefile, err)
		return nil
	}
	text = whole.Body
	in := o.input(text)
	if problems := checkCorefile(in, cfg); len(problems) > 0 {
		r.wrong(exit.Corefile, explainAll(whole, problems))
		return text
	}
	blocks, err := describeBlocks(in)
	if err != nil {
		r.wrong(exit.Corefile, err)
		return text
	}
	r.ok("%s: %s", o.corefile, output.Count(len(blocks), "block"))
	for _, b := range blocks {
		r.ok("  %s", b)
	}
	return text
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
		r.ok("WAN: %s", strings.Join(defaults, ", "))
	}
}

// checkHost looks at what the kernel and other programs must allow.
func checkHost(o *options, text []byte, r *report) {
	if err := needCapabilities(); err != nil {
		r.wrong(exit.Denied, err)
	}
	if err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK); err != nil {
		r.warn("/dev/net/tun: %v: without it and without WireGuard in the kernel no tunnel can be made (modprobe tun; docker: --device /dev/net/tun)", err)
	}
	if running(o) {
		r.ok("a nameroute runs; its ports are not looked at")
		return
	}
	all, err := listeners(o.input(text))
	if err != nil {
		return // it was said where the Corefile was looked at
	}
	for _, err := range taken(all) {
		r.wrong(exit.Port, err)
	}
}

// running reports whether some part of nameroute runs now.
func running(o *options) bool {
	for _, p := range []part{partDNS, partGateway} {
		f, err := os.Open(filepath.Join(o.run, string(p)+".lock"))
		if err != nil {
			continue
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true
		}
	}
	return false
}
