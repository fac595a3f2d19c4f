//go:build linux

package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// TB is the part of testing.TB that servers need.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Authority is the lab's certificate authority: it issues the certificate of every TLS
// server of the lab, for whatever name a client queries.
type Authority struct {
	File string // the CA's certificate in PEM

	t    TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	issued map[string]*tls.Certificate
}

// NewAuthority makes an authority that keeps its files in dir.
func NewAuthority(t TB, dir string) *Authority {
	t.Helper()
	a := &Authority{t: t, File: filepath.Join(dir, "ca.pem"), issued: map[string]*tls.Certificate{}}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "netlab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("netlab: CA key: %v", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatalf("netlab: CA certificate: %v", err)
	}
	a.key = key
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("netlab: CA certificate: %v", err)
	}
	writePEM(t, a.File, "CERTIFICATE", der)
	return a
}

// issue makes a certificate for a name and addresses.
func (a *Authority) issue(name string, addrs ...netip.Addr) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.issued[name]; c != nil {
		return c, nil
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.issued)) + 2), Subject: pkix.Name{CommonName: name},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, addr := range addrs {
		template.IPAddresses = append(template.IPAddresses, net.IP(addr.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, a.key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.issued[name] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
	return a.issued[name], nil
}

// TLS is a server's configuration; a client that names no server gets a certificate
// for fallback and addrs.
func (a *Authority) TLS(fallback string, addrs ...netip.Addr) *tls.Config {
	return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" || hello.ServerName == fallback {
			return a.issue(fallback, addrs...)
		}
		return a.issue(hello.ServerName)
	}}
}

// Files writes a certificate and its key for servers that are not ours.
func (a *Authority) Files(name string, addrs ...netip.Addr) (cert, key string) {
	a.t.Helper()
	c, err := a.issue(name, addrs...)
	if err != nil {
		a.t.Fatalf("netlab: certificate for %s: %v", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		a.t.Fatalf("netlab: key for %s: %v", name, err)
	}
	base := filepath.Join(filepath.Dir(a.File), name)
	writePEM(a.t, base+".crt", "CERTIFICATE", c.Certificate[0])
	writePEM(a.t, base+".key", "PRIVATE KEY", der)
	return base + ".crt", base + ".key"
}

func writePEM(t TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatalf("netlab: %v", err)
	}
}
