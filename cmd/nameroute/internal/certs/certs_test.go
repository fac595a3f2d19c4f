package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/corefile"
)

func TestLook(t *testing.T) {
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: from.AddDate(0, 0, 90), DNSNames: []string{"dns.home.example"}, IPAddresses: []net.IP{net.IPv4(192, 168, 1, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	// A key in the same file, and before the certificate, is what some clients write.
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(filepath.Join(dir, "crt"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	const blocks = ". tls://. {\n root %s\n tls crt key\n ddr %s\n}\n"
	for _, tc := range []struct {
		core string
		day  int
		want string
	}{
		{fmt.Sprintf(blocks+blocks, dir, "dns.home.example.", dir, "dns.home.example"), 10, "ok       certificate DIR/crt: until 2026-04-01, for dns.home.example 192.168.1.1"},
		{fmt.Sprintf(blocks, dir, "dns.home.example"), 85, "warning  certificate DIR/crt: expires on 2026-04-01: does what renews it still run?"},
		{fmt.Sprintf(blocks, dir, "dns.home.example"), 91, "error    certificate DIR/crt: expired on 2026-04-01, clients refuse it: renew it, the new one is served at once"},
		{fmt.Sprintf(blocks, dir, "dns.home.example"), -1, "warning  certificate DIR/crt: valid from 2026-01-01 on: clients refuse it, or the clock is wrong"},
		{fmt.Sprintf(blocks, dir, "box.example"), 10, "ok       certificate DIR/crt: until 2026-04-01, for dns.home.example 192.168.1.1\n" +
			"error    Corefile:4: ddr box.example: DIR/crt is for dns.home.example 192.168.1.1: want one of these names, or a certificate that has this one"},
		{". {\n ddr box.example\n}\n", 10, "error    Corefile:2: ddr box.example: no listener for clients to upgrade to: want tls://., https://., https3://. or quic://. in the first line of each block"},
		{". tls://. {\n tls {\n acme box.example\n }\n ddr box.example\n}\n", 10, ""},
		{". {\n tls missing missing\n}\n", 10, ""},
	} {
		f, err := corefile.Parse("Corefile", []byte(tc.core))
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, n := range Look(f, from.AddDate(0, 0, tc.day)) {
			lines = append(lines, strings.ReplaceAll(n.String(), dir, "DIR"))
		}
		if got := strings.Join(lines, "\n"); got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tc.core, got, tc.want)
		}
	}
	if Look(nil, from) != nil {
		t.Error("something is found without a Corefile")
	}
}
