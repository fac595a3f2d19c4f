package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// A LAN that asks over TLS: the same blocks on a second listener.
func TestClientsAskOverTLS(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	pool := g.certificate()
	g.Box.Write("Corefile", fmt.Sprintf(`. tls://. {
    tls %[1]s/box.crt %[1]s/box.key
    listed mine
    route vpn
    cache
    upstream vpn %[2]s
}
. tls://. {
    tls %[1]s/box.crt %[1]s/box.key
    cache
    upstream wan %[3]s
}
`, g.Box.Dir, g.Plan.World.V4, g.Plan.ISP.V4))
	g.start()
	g.Reset()

	var done sync.WaitGroup
	var mu sync.Mutex
	var listed []netip.Addr
	for i, name := range numbered(60, "listed.example") {
		done.Go(func() {
			reply, err := g.queryTLS(g.BoxLAN.All()[i%2], pool, name, []uint16{dns.TypeA, dns.TypeAAAA}[i/2%2])
			if err != nil || len(addressesIn(reply)) != 1 {
				t.Errorf("%s over TLS: %v, %v", name, reply, err)
				return
			}
			a := addressesIn(reply)[0]
			if egress, err := g.Client.Connect(a); err != nil || egress != netlab.ViaVPN {
				t.Errorf("%s: went %q, %v; want %s", a, egress, err, netlab.ViaVPN)
			}
			mu.Lock()
			defer mu.Unlock()
			listed = append(listed, a)
		})
	}
	done.Wait()
	g.wantLearned("vpn", listed...)
	g.wantNoneClear(listed...)
	g.wantAsked(netlab.ViaVPN, g.World.Queries("listed.example"))

	for _, at := range g.BoxLAN.All() {
		reply, err := g.queryTLS(at, pool, "other.example", dns.TypeA)
		if err != nil {
			t.Fatal(err)
		}
		g.wantVia(g.Client, netlab.ViaWAN, addressesIn(reply)...)
	}
	g.wantAsked(netlab.ViaWAN, g.World.Queries("other.example"))
}

// queryTLS asks the box over TLS, as a client with the box's certificate does.
func (g *gate) queryTLS(at netip.Addr, pool *x509.CertPool, name string, qtype uint16) (*dns.Msg, error) {
	conn, err := g.Client.DialWith(net.Dialer{Timeout: 2 * time.Second}, "tcp", netip.AddrPortFrom(at, 853).String())
	if err != nil {
		return nil, err
	}
	c := &dns.Conn{Conn: tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "box.home.example"})}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, err
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	reply, err := c.ReadMsg()
	if err == nil && (reply.Id != m.Id || reply.Rcode != dns.RcodeSuccess || !slices.Equal(reply.Question, m.Question)) {
		err = fmt.Errorf("answered %v", reply)
	}
	return reply, err
}

// certificate makes box.crt and box.key beside the box's files and returns what a
// client trusts them by.
func (g *gate) certificate() *x509.CertPool {
	g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "box"}, DNSNames: []string{"box.home.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		g.t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	g.Box.Write("box.crt", string(cert))
	g.Box.Write("box.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}
