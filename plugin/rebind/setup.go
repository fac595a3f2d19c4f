package rebind

import (
	"net/netip"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

func init() { plugin.Register(name, setup) }

// setup wires one `rebind` directive.
func setup(c *caddy.Controller) error {
	b, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		b.Next = next
		return b
	})
	return nil
}

// parse reads
//
//	rebind {
//	    allow NAME...
//	    block PREFIX...
//	    localhost_ok
//	}
func parse(c *caddy.Controller) (b *Rebind, err error) {
	for c.Next() {
		if b != nil {
			return nil, plugin.ErrOnce
		}
		b = &Rebind{reports: logonce.Every{Interval: reportPause}}
		if args := c.RemainingArgs(); len(args) > 0 {
			return nil, c.Errf("%q: takes no arguments; names that may resolve to private addresses go into `allow`", args)
		}
		for c.NextBlock() {
			if err := b.property(c); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *Rebind) property(c *caddy.Controller) error {
	key := c.Val()
	args := c.RemainingArgs()
	switch {
	case key == "localhost_ok":
		if len(args) > 0 {
			return c.Errf("localhost_ok %q: takes no arguments", strings.Join(args, " "))
		}
		b.localhostOK = true
	case key != "allow" && key != "block":
		return c.Errf("unknown property %q: want allow, block or localhost_ok", key)
	case len(args) == 0:
		return c.Errf("%s: want one or more arguments", key)
	}
	for _, a := range args {
		if key == "allow" {
			n := strings.ToLower(dns.Fqdn(a))
			if _, ok := dns.IsDomainName(n); !ok || n == "." {
				return c.Errf("allow %q: want a name, which includes all names below it", a)
			}
			b.allow = append(b.allow, n)
			continue
		}
		p, err := netip.ParsePrefix(a)
		if err != nil {
			return c.Errf("block %q: want a prefix such as 203.0.113.0/24 or 2001:db8::/48", a)
		}
		b.block = append(b.block, p.Masked())
	}
	return nil
}
