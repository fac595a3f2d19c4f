package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/args"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// Defaults; those that forward has too are forward's.
const (
	defaultTimeout  = 2 * time.Second
	defaultBudget   = 4500 * time.Millisecond // glibc, musl and Go give up after 5 s
	defaultExpire   = 10 * time.Second
	defaultInterval = 500 * time.Millisecond
	defaultMaxFails = 2
	maxBudget       = time.Minute // clients do not wait longer
)

// options is one upstream directive. It is immutable once parsed.
type options struct {
	at            corefile.Position
	route         string
	config        string            // gateway.yaml; "" for the default
	addresses     []address.Address // none: the route's own resolvers
	handed        bool              // and those that the route's link was given,
	handedAt      int               // before this address
	policy        policy
	timeout       time.Duration // for one try, including connecting
	budget        time.Duration // for the whole query
	expire        time.Duration // idle sockets
	interval      time.Duration // between probes of an unhealthy resolver
	probe         string        // the name whose NS records a probe asks for
	maxFails      int           // 0: never unhealthy
	maxConcurrent int64         // 0: no limit
	forceTCP      bool
	trustAD       bool
	trust         trust.Options
	subnets       wire.Subnets
	ignore        wire.Ignored     // answers with these addresses are forged
	bootstrap     []netip.AddrPort // asked for the names among addresses; none: the route's own resolvers
	patience      time.Duration    // of every resolver, in tests; 0: by what is known of it
}

// parse parses the directive. Errors name file and line.
func parse(c *caddy.Controller) (options, error) {
	o := options{
		policy: sequential, timeout: defaultTimeout, budget: defaultBudget, expire: defaultExpire,
		interval: defaultInterval, probe: ".", maxFails: defaultMaxFails,
	}
	if !c.Next() || !c.NextArg() {
		return o, c.Err("missing route: want upstream ROUTE [ADDRESS...]")
	}
	o.route = c.Val()
	o.at = instance.Here(c)
	for _, arg := range c.RemainingArgs() {
		if arg == corefile.HandedOut && !o.handed {
			o.handed, o.handedAt = true, len(o.addresses)
			continue
		}
		a, err := address.Parse(arg)
		if err != nil {
			return o, c.Err(err.Error())
		}
		for _, have := range o.addresses {
			if have.Same(a) {
				return o, c.Errf("duplicate address %s", arg)
			}
		}
		o.addresses = append(o.addresses, a)
	}
	seen := make(map[string]bool)
	for c.NextBlock() {
		key := c.Val()
		if seen[key] {
			return o, c.Errf("duplicate property %s", key)
		}
		seen[key] = true
		if err := o.property(c, key); err != nil {
			return o, c.Errf("%s: %v", key, err)
		}
	}
	if c.Next() {
		return o, c.Err("only one upstream per server block: want all addresses on one line")
	}
	if err := o.check(); err != nil {
		return o, o.at.Errorf("%w", err)
	}
	return o, nil
}

// property parses one line of the block. The error says what would be right.
func (o *options) property(c *caddy.Controller, key string) (err error) {
	given := c.RemainingArgs()
	switch key {
	case "config":
		o.config, err = instance.ConfigFile(c, given)
	case "timeout":
		o.timeout, err = args.Duration(given, "timeout 2s")
	case "budget":
		o.budget, err = args.Duration(given, "budget 4.5s")
	case "expire":
		o.expire, err = args.Duration(given, "expire 10s")
	case "policy":
		var s string
		s, err = args.One(given, "policy "+policies)
		o.policy = policy(s)
		if err == nil && !o.policy.valid() {
			err = fmt.Errorf("unknown policy %q: want %s", s, policies)
		}
	case "max_fails":
		o.maxFails, err = args.Number(given, "max_fails 2, or 0 for never unhealthy")
	case "max_concurrent":
		var n int
		n, err = args.Number(given, "max_concurrent 1000, or 0 for no limit")
		o.maxConcurrent = int64(n)
	case "health_check":
		err = o.healthCheck(given)
	case "force_tcp":
		o.forceTCP = true
		if len(given) > 0 {
			err = errors.New("takes no value: want force_tcp")
		}
	case "trust_ad":
		o.trustAD = true
		if len(given) > 0 {
			err = errors.New("takes no value: want trust_ad")
		}
	case "tls", "tls_servername", "pin":
		err = o.trust.Property(key, given, dnsserver.GetConfig(c).Root)
	case "ignore":
		o.ignore, err = wire.ParseIgnored(given)
	case "ecs":
		o.subnets, err = wire.ParseSubnets(given)
	case "bootstrap":
		o.bootstrap, err = address.ParsePlain(given)
	default:
		err = errors.New("unknown property: want config, timeout, budget, policy, max_fails, health_check, expire, tls_servername, tls, pin, bootstrap, ignore, ecs, max_concurrent, force_tcp or trust_ad")
	}
	return err
}

func (o *options) healthCheck(given []string) (err error) {
	const usage = "health_check 500ms [domain NAME]"
	switch {
	case len(given) == 3 && given[1] == "domain":
		if _, ok := dns.IsDomainName(given[2]); !ok {
			return fmt.Errorf("%q is not a domain name: want %s", given[2], usage)
		}
		o.probe = dns.Fqdn(given[2])
	case len(given) != 1:
		return fmt.Errorf("want %s", usage)
	}
	o.interval, err = args.Duration(given[:1], usage)
	return err
}

// check checks what depends on more than one property.
func (o *options) check() error {
	if o.timeout > o.budget {
		return fmt.Errorf("timeout: %s is more than the budget of %s for the whole query: want a longer budget or a shorter timeout", o.timeout, o.budget)
	}
	if o.budget > maxBudget {
		return fmt.Errorf("budget: %s is longer than clients wait: want at most %s", o.budget, maxBudget)
	}
	encrypted, named := false, false
	for _, a := range o.addresses {
		named = named || a.Host != ""
		if !a.Transport.Encrypted() {
			continue
		}
		encrypted = true
		if a.Name != "" && o.trust.Name != "" {
			return fmt.Errorf("tls_servername: address %s already has the name %s: want only one of the two", a, a.Name)
		}
	}
	switch {
	case o.trust.Name != "" && !encrypted:
		return errors.New("tls_servername: no address uses TLS: want tls:// before those that do")
	case o.trust.Config != nil && !encrypted:
		return errors.New("tls: no address uses TLS: want tls:// before those that do")
	case len(o.trust.Pins) > 0 && !encrypted:
		return errors.New("pin: no address uses TLS: want tls:// before those that do")
	case len(o.bootstrap) > 0 && !named:
		return errors.New("bootstrap: no address is a name: want tls://NAME or https://NAME, or leave bootstrap out")
	}
	return nil
}
