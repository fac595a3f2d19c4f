package ddr

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

var log = clog.NewWithPlugin(name)

func init() { plugin.Register(name, setup) }

// setup wires one `ddr` directive.
func setup(c *caddy.Controller) error {
	d, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	config := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		all, err := instance.Endpoints(c)
		if err != nil {
			return plugin.Error(name, err)
		}
		d.endpoints = slices.DeleteFunc(all, func(e instance.Endpoint) bool {
			return !slices.ContainsFunc(order, func(o struct{ transport, alpn string }) bool { return o.transport == e.Transport })
		})
		if len(d.endpoints) == 0 {
			return plugin.Error(name, d.at.Errorf("no listener for clients to upgrade to: want tls://., https://., https3://. or quic://. in the first line of each block"))
		}
		if err := checkCertificate(config.TLSConfig, d.target); err != nil {
			return plugin.Error(name, d.at.Errorf("%s: %w", strings.TrimSuffix(d.target, "."), err))
		}
		return nil
	})
	config.AddPlugin(func(next plugin.Handler) plugin.Handler {
		d.Next = next
		return d
	})
	return nil
}

// parse reads
//
//	ddr NAME {
//	    addresses ADDRESS...
//	}
func parse(c *caddy.Controller) (d *DDR, err error) {
	for c.Next() {
		if d != nil {
			return nil, plugin.ErrOnce
		}
		args := c.RemainingArgs()
		if len(args) != 1 {
			return nil, c.Err("want one name, which is in the certificate: ddr dns.home.example.org")
		}
		d = &DDR{target: strings.ToLower(dns.Fqdn(args[0])), own: links, at: instance.Here(c)}
		if _, ok := dns.IsDomainName(d.target); !ok || dns.CountLabel(d.target) < 1 || strings.ContainsAny(d.target, "/*:") {
			return nil, c.Errf("%q is not the name of a resolver: want one that is in the certificate, such as dns.home.example.org", args[0])
		}
		if _, err := netip.ParseAddr(args[0]); err == nil {
			return nil, c.Errf("%s is an address: want the name that is in the certificate", args[0])
		}
		for c.NextBlock() {
			if c.Val() != "addresses" {
				return nil, c.Errf("unknown property %q: want addresses", c.Val())
			}
			for _, s := range c.RemainingArgs() {
				a, err := netip.ParseAddr(s)
				if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
					return nil, c.Errf("addresses: %q: want addresses of this machine that clients reach", s)
				}
				d.fixed = append(d.fixed, a.Unmap())
			}
			if len(d.fixed) == 0 {
				return nil, c.Err("addresses: want at least one address")
			}
		}
	}
	return d, nil
}

// checkCertificate checks that clients that are told the name accept the certificate. Of one
// that ACME will bring nothing is known yet.
func checkCertificate(t *tls.Config, target string) error {
	if t == nil || len(t.Certificates) == 0 || len(t.Certificates[0].Certificate) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(t.Certificates[0].Certificate[0])
	if err != nil {
		return err
	}
	if len(cert.IPAddresses) == 0 {
		log.Infof("the certificate of %s names no IP address: only clients that asked a private address before upgrade by themselves", target)
	}
	return cert.VerifyHostname(strings.TrimSuffix(target, "."))
}
