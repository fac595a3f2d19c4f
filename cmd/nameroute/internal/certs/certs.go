// Package certs checks the certificates that a Corefile's listeners present.
package certs

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// lateShare is the part of a certificate's life at whose beginning it should have been renewed:
// ACME clients do with a third left.
const lateShare = 10

// encrypted are the transports to which clients may be told to upgrade.
var encrypted = []string{"tls", "https", "https3", "quic"}

// Look reports how long the certificates are valid, and what keeps clients from accepting them.
// Files that cannot be read are errors of the Corefile, which are reported elsewhere.
func Look(f *corefile.File, now time.Time) []status.Finding {
	if f == nil {
		return nil
	}
	var found []status.Finding
	add := func(level status.Level, format string, args ...any) {
		if n := status.Found(level, format, args...); !slices.Contains(found, n) {
			found = append(found, n)
		}
	}
	upgrade := slices.ContainsFunc(f.Blocks, func(b corefile.Block) bool {
		return slices.ContainsFunc(b.Zones, func(z corefile.Zone) bool { return z.Name == "." && slices.Contains(encrypted, z.Transport) })
	})
	for _, b := range f.Blocks {
		var c *x509.Certificate
		files := b.TLS()
		if len(files) > 0 {
			c = read(files[0])
		}
		if c != nil {
			level, text := dated(c, files[0], now)
			add(level, "%s", text)
		}
		for _, d := range b.Directives {
			if d.Name != "ddr" || len(d.Args) != 1 {
				continue
			}
			if !upgrade {
				add(status.LevelError, "%s:%d: ddr %s: no listener for clients to upgrade to: want tls://., https://., https3://. or quic://. in the first line of each block", d.File, d.Line, d.Args[0])
			}
			if c != nil && c.VerifyHostname(strings.TrimSuffix(d.Args[0], ".")) != nil {
				add(status.LevelError, "%s:%d: ddr %s: %s is for %s: want one of these names, or a certificate that has this one", d.File, d.Line, d.Args[0], files[0], names(c))
			}
		}
	}
	return found
}

// dated says until when a certificate is good.
func dated(c *x509.Certificate, file string, now time.Time) (status.Level, string) {
	from, until := c.NotBefore.UTC().Format(time.DateOnly), c.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case now.After(c.NotAfter):
		return status.LevelError, fmt.Sprintf("certificate %s: expired on %s, clients refuse it: renew it, the new one is served at once", file, until)
	case now.Before(c.NotBefore):
		return status.LevelWarning, fmt.Sprintf("certificate %s: valid from %s on: clients refuse it, or the clock is wrong", file, from)
	case c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/lateShare:
		return status.LevelWarning, fmt.Sprintf("certificate %s: expires on %s: does what renews it still run?", file, until)
	}
	return status.LevelOK, fmt.Sprintf("certificate %s: until %s, for %s", file, until, names(c))
}

func names(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, a := range c.IPAddresses {
		all = append(all, a.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all, " ")
}

// read returns the first certificate of a file, nil where there is none.
func read(file string) *x509.Certificate {
	data, err := statefile.ReadFile(file)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, _ := x509.ParseCertificate(block.Bytes) // nil with an error
			return c
		}
	}
	return nil
}
