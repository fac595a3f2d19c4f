package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/address"
)

// chain makes an authority and a certificate of it for dns.example.org.
func chain(t *testing.T, from, until time.Time) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: from.AddDate(-5, 0, 0), NotAfter: until.AddDate(5, 0, 0),
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"dns.example.org"}, NotBefore: from, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if root, err = x509.ParseCertificate(rootDER); err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return pool, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}

// shake makes a connection to a server that shows a certificate.
func shake(s *Server, cert tls.Certificate) error {
	return s.Shake(func(cfg *tls.Config) error {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
		if err != nil {
			return err
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				c.(*tls.Conn).Handshake()
				c.Close()
			}
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		return tls.Client(c, cfg).Handshake()
	})
}

// A clock that is not set yet does not end DNS, and nothing that is known to be past is
// believed to be valid.
func TestClock(t *testing.T) {
	day := func(year, month, day int) time.Time {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	}
	built := day(2026, 3, 1)
	for _, tc := range []struct {
		what         string
		now          time.Time
		synchronized bool
		from, until  time.Time
		name         string
		warned       string // at which time it is verified
		err          string
	}{
		{what: "the clock is right", now: day(2026, 11, 1), from: day(2026, 10, 1), until: day(2026, 12, 30)},
		{what: "1970, a certificate of now", now: day(1970, 1, 1), from: day(2026, 10, 1), until: day(2026, 12, 30), warned: "2026-10-01"},
		{what: "1970, a certificate from before the build", now: day(1970, 1, 1), from: day(2026, 2, 1), until: day(2026, 5, 1), warned: "2026-03-01"},
		{what: "the date of the last shutdown", now: day(2026, 9, 1), from: day(2026, 10, 1), until: day(2026, 12, 30), warned: "2026-10-01"},
		{what: "1970, it ended before the build", now: day(1970, 1, 1), from: day(2025, 10, 1), until: day(2025, 12, 30), err: "has expired or is not yet valid"},
		{what: "an old clock with which it were valid", now: day(2025, 11, 1), from: day(2025, 12, 1), until: day(2025, 12, 30), err: "has expired or is not yet valid"},
		{what: "the clock is set, not yet valid", now: day(2026, 9, 1), synchronized: true, from: day(2026, 10, 1), until: day(2026, 12, 30), err: "has expired or is not yet valid"},
		{what: "expired", now: day(2027, 9, 1), from: day(2026, 10, 1), until: day(2026, 12, 30), err: "has expired or is not yet valid"},
		{what: "1970, another name", now: day(1970, 1, 1), from: day(2026, 10, 1), until: day(2026, 12, 30), name: "dns.example.net", err: "not dns.example.net"},
	} {
		pool, cert := chain(t, tc.from, tc.until)
		if tc.name == "" {
			tc.name = "dns.example.org"
		}
		warned := ""
		s := NewServer(address.Address{Transport: address.TLS, Name: tc.name}, Options{
			Config: &tls.Config{RootCAs: pool}, Warn: func(_ string, args ...any) { warned = args[2].(string) },
			Clock: &Clock{Now: func() time.Time { return tc.now }, Synchronized: func() bool { return tc.synchronized }, Passed: func() time.Time { return built }},
		})
		err := shake(s, cert)
		if warned != tc.warned || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %v, verified at %q", tc.what, err, warned)
		}
	}
}

// A certificate must have one of the pins, and one of the hashes of a stamp, besides a chain
// to an authority; its authority's will do.
func TestPins(t *testing.T) {
	pool, cert := chain(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	signed := sha256.Sum256(leaf.RawTBSCertificate)
	pin := func(s string) []Pin {
		p, err := ParsePin(s)
		if err != nil {
			t.Fatal(err)
		}
		return []Pin{p}
	}
	other := strings.Repeat("x", 32)
	for _, tc := range []struct {
		what   string
		pins   []Pin
		hashes string
		roots  *x509.CertPool
		err    string
	}{
		{"base64", pin(base64.StdEncoding.EncodeToString(sum[:])), "", pool, ""},
		{"RFC 7469", pin("sha256/" + base64.StdEncoding.EncodeToString(sum[:])), "", pool, ""},
		{"digits", pin(hex.EncodeToString(sum[:])), "", pool, ""},
		{"one of two", append(pin(hex.EncodeToString([]byte(other))), sum), "", pool, ""},
		{"another", pin(hex.EncodeToString([]byte(other))), "", pool, "no certificate has the public key of a pin; that of dns.example.org is " + base64.StdEncoding.EncodeToString(sum[:])},
		{"no authority", []Pin{sum}, "", x509.NewCertPool(), "unknown authority"},
		{"hash", nil, other + string(signed[:]), pool, ""},
		{"another hash", nil, other, pool, "no certificate has a hash of the stamp"},
	} {
		s := NewServer(address.Address{Transport: address.TLS, Name: "dns.example.org", Hashes: tc.hashes}, Options{Config: &tls.Config{RootCAs: tc.roots}, Pins: tc.pins})
		err := shake(s, cert)
		if (err == nil) != (tc.err == "") || err != nil && (!strings.Contains(err.Error(), tc.err) || !Distrusted(err)) {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
	for _, s := range []string{"", "abc", "sha256/" + strings.Repeat("A", 40)} {
		if p, err := ParsePin(s); err == nil {
			t.Errorf("%q became %x", s, p)
		}
	}
}
