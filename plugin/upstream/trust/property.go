package trust

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	pkgtls "github.com/coredns/coredns/plugin/pkg/tls"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/args"
)

// Properties are the names of the properties that Property parses.
var Properties = []string{"tls", "tls_servername", "pin"}

// Property parses one line of the directive that is about certificates. Files are below root
// where their paths are not absolute.
func (o *Options) Property(key string, given []string, root string) (err error) {
	switch key {
	case "tls_servername":
		o.Name, err = args.One(given, "tls_servername NAME")
		if _, ok := dns.IsDomainName(o.Name); err == nil && !ok {
			err = fmt.Errorf("%q is not a domain name: want the name in the resolver's certificate", o.Name)
		}
	case "pin":
		o.Pins, err = ParsePins(given)
	case "tls":
		if len(given) > 3 { // CoreDNS's usual forms: nothing, CA, CERT KEY, CERT KEY CA
			return errors.New("want tls [CERT KEY] [CA]")
		}
		files := slices.Clone(given)
		for i, file := range files {
			if !filepath.IsAbs(file) {
				files[i] = filepath.Join(root, file)
			}
		}
		o.Config, err = pkgtls.NewTLSConfigFromArgs(files...)
	}
	return err
}

// Dial opens a connection and does the handshake.
func (s *Server) Dial(ctx context.Context, open func() (net.Conn, error)) (conn *tls.Conn, err error) {
	err = s.Shake(func(cfg *tls.Config) error {
		raw, err := open()
		if err != nil {
			return err
		}
		conn = tls.Client(raw, cfg)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close() // the handshake's error is the one to return
			return fmt.Errorf("tls %s: %w", cfg.ServerName, err)
		}
		return nil
	})
	return conn, err
}
