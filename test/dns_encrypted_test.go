package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// encryptedBlocks is a Corefile with all listeners.
const encryptedBlocks = `. tls://. https://. https3://. quic://. {
    tls %[1]s/box.crt %[1]s/box.key
    listed mine
    route vpn
    cache
    upstream vpn %[2]s
}
. tls://. https://. https3://. quic://. {
    tls %[1]s/box.crt %[1]s/box.key
    ddr box.home.example
    cache
    upstream wan %[3]s
}
`

// Guarantee 1: set before answer.
// Guarantee 9: no open resolver.
// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// Clients ask over TLS, HTTPS and QUIC: what they connect to at once is routed, cached or not.
// A certificate that was renewed on disk is served without a restart, while connections made
// before go on and not one query is lost. Clients discover the listeners by themselves. From
// outside none of them answers.
func TestClientsAskEncrypted(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	pool := g.certificate()
	g.Box.Write("Corefile", fmt.Sprintf(encryptedBlocks, g.Box.Dir, g.Plan.World.V4, g.Plan.ISP.V4))
	g.start()
	g.Reset()
	const patience = 30 * time.Second

	var done sync.WaitGroup
	var mu sync.Mutex
	var listed []netip.Addr
	for _, over := range encryptions {
		for _, at := range g.BoxLAN.All() {
			done.Go(func() {
				c := g.encrypt(g.Client, at, over, pool, patience)
				names := numbered(8, fmt.Sprintf("%s%v.listed.example", over, at.Is6()))
				for i, name := range append(names, names[0], names[1]) { // the last two are cached
					reply, err := c.query(name, []uint16{dns.TypeA, dns.TypeAAAA}[i%2])
					if err != nil || len(addressesIn(reply)) != 1 {
						t.Errorf("%s over %s: %v, %v", name, over, reply, err)
						return
					}
					a := addressesIn(reply)[0]
					if egress, err := g.Client.Connect(a); err != nil || egress != netlab.ViaVPN {
						t.Errorf("%s over %s: went %q, %v; want %s", a, over, egress, err, netlab.ViaVPN)
					}
					mu.Lock()
					listed = append(listed, a)
					mu.Unlock()
				}
				reply, err := c.query(over+".other.example", dns.TypeA)
				if err != nil {
					t.Errorf("over %s: %v", over, err)
					return
				}
				g.wantVia(g.Client, netlab.ViaWAN, addressesIn(reply)...)
			})
		}
	}
	done.Wait()
	g.wantLearned("vpn", listed...)
	g.wantNoneClear(listed...)
	g.wantAsked(netlab.ViaVPN, g.World.Queries("listed.example"))
	g.wantAsked(netlab.ViaWAN, g.World.Queries("other.example"))

	g.wantDesignated()
	g.renewCertificate(pool)

	for _, over := range encryptions {
		for _, at := range append(g.BoxWAN.All(), g.BoxLAN.All()...) {
			done.Go(func() {
				if reply, err := g.encrypt(g.ISP.Host, at, over, pool, time.Second).query("isp.other.example", dns.TypeA); err == nil {
					t.Errorf("the ISP is answered at %s over %s: %v", at, over, reply)
				}
			})
		}
	}
	done.Wait()
	// Real clients.
	for _, args := range [][]string{{"+tls"}, {"+https"}, {"+quic"}} {
		out, err := g.Client.Exec(append(append([]string{"kdig"}, args...), "+short", "@"+g.BoxLAN.V4.String(), "www.listed.example")...)
		if err != nil || !strings.Contains(out, ".") {
			t.Errorf("kdig %v: %s, %v", args, out, err)
		}
	}
}

// wantDesignated discovers the box's listeners as a client does that asks in the clear (RFC
// 9462): those that it asks above, by name, port and address. No other resolver is asked for
// them.
func (g *gate) wantDesignated() {
	g.t.Helper()
	for _, at := range g.BoxLAN.All() {
		reply, err := g.Client.QueryAt(netip.AddrPortFrom(at, 53), new(dns.Msg).SetQuestion("_dns.resolver.arpa.", dns.TypeSVCB), "udp")
		if err != nil {
			g.t.Fatal(err)
		}
		var found []string
		for _, rr := range reply.Answer {
			s := rr.(*dns.SVCB)
			params := map[dns.SVCBKey]string{}
			for _, v := range s.Value {
				params[v.Key()] = v.String()
			}
			hints := params[dns.SVCB_IPV4HINT] + "," + params[dns.SVCB_IPV6HINT]
			if s.Target != boxName+"." || !strings.Contains(hints, g.BoxLAN.V4.String()) || !strings.Contains(hints, g.BoxLAN.V6.String()) {
				g.t.Errorf("at %s: %s", at, s)
			}
			for alpn := range strings.SplitSeq(params[dns.SVCB_ALPN], ",") {
				found = append(found, alpn+" "+params[dns.SVCB_PORT]+params[dns.SVCB_DOHPATH])
			}
		}
		if got, want := strings.Join(found, ", "), "h3 443/dns-query{?dns}, h2 443/dns-query{?dns}, doq 853, dot 853"; got != want {
			g.t.Errorf("at %s: told of %s, want %s", at, got, want)
		}
	}
	if asked := g.World.Queries("resolver.arpa"); len(asked) > 0 {
		g.t.Errorf("another resolver was asked: %s", asked[0])
	}
}

// renewCertificate replaces the box's certificate on disk while clients with connections go on
// asking.
func (g *gate) renewCertificate(old *x509.CertPool) {
	g.t.Helper()
	const patience = 30 * time.Second
	stop := make(chan struct{})
	var done sync.WaitGroup
	var asked atomic.Int64
	for _, over := range encryptions {
		c := g.encrypt(g.Client, g.BoxLAN.V4, over, old, patience)
		first := make(chan struct{})
		done.Go(func() {
			for n := 0; ; n++ {
				if _, err := c.query(fmt.Sprintf("%s%d.renewed.other.example", over, n), dns.TypeA); err != nil {
					g.t.Errorf("query %d over %s, on a connection from before: %v", n, over, err)
				}
				asked.Add(1)
				if n == 0 {
					close(first)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		<-first
	}
	renewed := g.certificate()
	for _, over := range encryptions {
		netlab.Eventually(g.t, patience, func() error {
			_, err := g.encrypt(g.Client, g.BoxLAN.V4, over, renewed, patience).query("www.other.example", dns.TypeA)
			if err != nil {
				err = fmt.Errorf("over %s, by the renewed certificate: %w", over, err)
			}
			return err
		})
	}
	close(stop)
	done.Wait()
	if n := asked.Load(); n < 8 {
		g.t.Errorf("only %d queries: that proves nothing", n)
	}
}

// certificate makes box.crt and box.key, links that are replaced as certbot does it, and
// returns what a client trusts them by.
func (g *gate) certificate() *x509.CertPool {
	g.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		g.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "box"}, DNSNames: []string{boxName}, IsCA: true, BasicConstraintsValid: true,
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
	version := time.Now().UnixNano()
	link := func(name string, text []byte) {
		file := fmt.Sprintf("archive/%d-%s", version, name)
		g.Box.Write(file, string(text))
		g.Box.Run("ln", "-sf", file, filepath.Join(g.Box.Dir, name))
	}
	link("box.crt", cert)
	link("box.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}
