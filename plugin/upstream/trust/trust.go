// Package trust decides which certificates are believed to be those of a resolver: by their
// authority and name as ever, by pins, and at what time where the clock is wrong.
package trust

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/address"
)

// sessions is how many tickets are kept for a resolver: one for each connection.
const sessions = 8

// Options are what the resolvers of one directive have in common.
type Options struct {
	Config *tls.Config // authorities and the client's certificate; nil: the system's, and none
	Name   string      // for addresses that have none
	Pins   []Pin
	Clock  *Clock               // nil: the system's
	Warn   func(string, ...any) // of a wrong clock
}

// Pin is the SHA-256 of a certificate's public key (RFC 7858, section 4.2).
type Pin [sha256.Size]byte

// ParsePin parses a pin in base64, as RFC 7469 has it, or in hexadecimal digits.
func ParsePin(s string) (p Pin, err error) {
	text := strings.TrimPrefix(s, "sha256/")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != len(p) {
		b, err = hex.DecodeString(text)
	}
	if err != nil || len(b) != len(p) {
		return p, fmt.Errorf("%q is not the SHA-256 of a public key in base64: want 44 characters, as `openssl x509 -pubkey -noout -in CERT | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` prints them", s)
	}
	return Pin(b), nil
}

// ParsePins parses one pin or more.
func ParsePins(args []string) ([]Pin, error) {
	if len(args) == 0 {
		return nil, errors.New("no pin: want pin with one SHA256 or more")
	}
	var all []Pin
	for _, arg := range args {
		p, err := ParsePin(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// PinError says that no certificate of a resolver has a pin, or a hash of its stamp.
type PinError struct{ text string }

func (e PinError) Error() string { return e.text }

// Server is what one resolver must show.
type Server struct {
	config *tls.Config
	name   string
	clock  *Clock
	warn   func(string, ...any)
}

// protocols are the application protocols by transport (RFC 7301). DNS over TLS needs none.
var protocols = map[address.Transport]string{address.HTTPS: "h2", address.HTTP3: "h3", address.QUIC: "doq"}

// NewServer returns what must be shown by the resolver at an address: a certificate for its
// name, or for its address where no name is given (RFC 8310, section 8.1). Sessions are resumed
// with the same resolver via the same route only: a ticket used via another route would link
// the two to one box.
func NewServer(a address.Address, o Options) *Server {
	c := &tls.Config{}
	if o.Config != nil {
		c = o.Config.Clone()
	}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	switch {
	case a.Name != "":
		c.ServerName = a.Name
	case o.Name != "":
		c.ServerName = o.Name
	default:
		c.ServerName = a.Addr.Addr().WithZone("").String()
	}
	if p := protocols[a.Transport]; p != "" {
		c.NextProtos = []string{p}
	}
	if len(o.Pins) > 0 || a.Hashes != "" {
		c.VerifyConnection = func(s tls.ConnectionState) error { return verify(s, o.Pins, a.Hashes) }
	}
	s := &Server{config: c, name: a.String(), clock: o.Clock, warn: o.Warn}
	if s.clock == nil {
		s.clock = System
	}
	c.Time = s.clock.Now
	return s
}

// Name is the name that the certificate must hold.
func (s *Server) Name() string { return s.config.ServerName }

// verify checks the pins, which any certificate of a chain may have whose authority is
// known, and the hashes, which are of such a certificate's signed part.
func verify(s tls.ConnectionState, pins []Pin, hashes string) error {
	if len(pins) > 0 && !shown(s, func(c *x509.Certificate) bool {
		return slices.Contains(pins, Pin(sha256.Sum256(c.RawSubjectPublicKeyInfo)))
	}) {
		leaf := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
		return PinError{fmt.Sprintf("no certificate has the public key of a pin; that of %s is %s", s.ServerName, base64.StdEncoding.EncodeToString(leaf[:]))}
	}
	if hashes != "" && !shown(s, func(c *x509.Certificate) bool {
		sum := sha256.Sum256(c.RawTBSCertificate)
		for i := 0; i+len(sum) <= len(hashes); i += len(sum) {
			if hashes[i:i+len(sum)] == string(sum[:]) {
				return true
			}
		}
		return false
	}) {
		return PinError{"no certificate has a hash of the stamp, which may be older than the certificates"}
	}
	return nil
}

func shown(s tls.ConnectionState, match func(*x509.Certificate) bool) bool {
	return slices.ContainsFunc(s.VerifiedChains, func(chain []*x509.Certificate) bool { return slices.ContainsFunc(chain, match) })
}

// Shake makes a connection with the handshake that connect does. Where it fails only because
// the clock is behind, it is made once more, with the certificates verified at a later time.
func (s *Server) Shake(connect func(*tls.Config) error) error {
	err := connect(s.config)
	if err == nil {
		return nil
	}
	at, wrong := s.clock.later(err)
	if !wrong {
		return err
	}
	c := s.config.Clone()
	c.Time = func() time.Time { return at }
	if again := connect(c); again != nil {
		return fmt.Errorf("%w (the clock is not synchronized: verified at %s)", again, at.UTC().Format(time.DateOnly))
	}
	if s.warn != nil {
		s.warn("the clock is not synchronized and shows %s: the certificate of %s was verified at %s, before which it is not valid",
			s.clock.Now().UTC().Format(time.DateOnly), s.name, at.UTC().Format(time.DateOnly))
	}
	return nil
}

// Distrusted reports whether an error is that of a certificate.
func Distrusted(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(PinError))
}
