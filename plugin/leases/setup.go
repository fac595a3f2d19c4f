package leases

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func init() { plugin.Register(name, setup) }

const (
	// defaultTTL is short, in seconds, because clients come, go and change addresses.
	defaultTTL = 10
	maxTTL     = 65535
)

// defaultFiles are where dnsmasq (Debian's, Fedora's) and Kea store leases; they are used
// if the directive names no file. OpenWrt's /tmp/dhcp.leases must be named, because on
// other systems every user could create it.
var defaultFiles = []string{
	"/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases",
	"/var/lib/kea/kea-leases4.csv", "/var/lib/kea/kea-leases6.csv",
}

// setup wires one `leases` directive.
func setup(c *caddy.Controller) error {
	l, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	c.OnStartup(func() error {
		l.read() // before the first query
		watching.Go(func() { l.watch(ctx) })
		return nil
	})
	c.OnShutdown(func() error {
		cancel()
		watching.Wait()
		return nil
	})
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		l.Next = next
		return l
	})
	return nil
}

// parse reads
//
//	leases DOMAIN [FILE...] {
//	    ttl SECONDS
//	    fallthrough [ZONES...]
//	}
func parse(c *caddy.Controller) (l *Leases, err error) {
	for c.Next() {
		if l != nil {
			return nil, plugin.ErrOnce
		}
		args := c.RemainingArgs()
		if len(args) == 0 {
			return nil, c.Err("missing domain: want the domain of the clients' names, as in `leases lan`, and optionally lease files")
		}
		domain, files := strings.ToLower(dns.Fqdn(args[0])), args[1:]
		if _, ok := dns.IsDomainName(domain); !ok || domain == "." || strings.Contains(domain, "/") {
			return nil, c.Errf("domain %q: want the domain of the clients' names, such as lan or home.arpa", args[0])
		}
		for i, f := range files {
			if !filepath.IsAbs(f) {
				files[i] = filepath.Join(dnsserver.GetConfig(c).Root, f)
			}
			if slices.Contains(files[:i], files[i]) {
				return nil, c.Errf("duplicate file %s", f)
			}
		}
		if len(files) > 0 {
			l = newLeases(domain, files, false)
		} else {
			l = newLeases(domain, defaultFiles, true)
		}
		for c.NextBlock() {
			if err := l.property(c); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func (l *Leases) property(c *caddy.Controller) error {
	switch key := c.Val(); key {
	case "ttl":
		args := c.RemainingArgs()
		if len(args) != 1 {
			return c.Err("ttl: want seconds")
		}
		n, err := strconv.ParseUint(args[0], 10, 32)
		if err != nil || n < 1 || n > maxTTL {
			return c.Errf("ttl %q: want seconds, 1 to %d", args[0], maxTTL)
		}
		l.ttl = uint32(n)
	case "fallthrough":
		l.Fall.SetZonesFromArgs(c.RemainingArgs())
	default:
		return c.Errf("unknown property %q: want ttl or fallthrough", key)
	}
	return nil
}
