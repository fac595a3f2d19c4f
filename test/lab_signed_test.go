package test

import (
	"crypto"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// signedZone is a zone that is signed, with NSEC records. One name's address is not what its
// signature is for.
const signedZone = "signed.example."

// signer signs record sets by one key.
type signer struct {
	t    testing.TB
	key  *dns.DNSKEY
	priv crypto.Signer
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key := &dns.DNSKEY{Hdr: signedHeader(signedZone, dns.TypeDNSKEY), Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	priv, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, key, priv.(crypto.Signer)}
}

func signedHeader(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: 300}
}

// sign returns a record set with its signature.
func (s *signer) sign(set ...dns.RR) []dns.RR {
	s.t.Helper()
	now := time.Now()
	sig := &dns.RRSIG{
		Algorithm: s.key.Algorithm, KeyTag: s.key.KeyTag(), SignerName: signedZone,
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(24 * time.Hour).Unix()),
	}
	if err := sig.Sign(s.priv, set); err != nil {
		s.t.Fatal(err)
	}
	return append(set, sig)
}

// zone returns the zone's text. The names are in canonical order (RFC 4034 section 6.1).
func (s *signer) zone(w *netlab.World, ns net.IP) string {
	s.t.Helper()
	soa := &dns.SOA{Hdr: signedHeader(signedZone, dns.TypeSOA), Ns: "ns." + signedZone, Mbox: "m." + signedZone, Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60}
	records := s.sign(soa)
	records = append(records, s.sign(&dns.NS{Hdr: signedHeader(signedZone, dns.TypeNS), Ns: "ns." + signedZone})...)
	records = append(records, s.sign(s.key)...)
	owners := []string{signedZone}
	for _, label := range []string{"bogus", "clear", "ns", "safe", "*.w"} {
		owner := label + "." + signedZone
		a := &dns.A{Hdr: signedHeader(owner, dns.TypeA), A: w.Addresses(strings.TrimSuffix(owner, ".")).V4.AsSlice()}
		if label == "ns" {
			a.A = ns
		}
		signed := s.sign(a)
		if label == "bogus" {
			a.A = net.IP(w.Addresses("forged." + strings.TrimSuffix(owner, ".")).V4.AsSlice())
		}
		owners = append(owners, owner)
		records = append(records, signed...)
	}
	for i, owner := range owners {
		types := []uint16{dns.TypeA, dns.TypeRRSIG, dns.TypeNSEC}
		if i == 0 {
			types = []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY}
		}
		records = append(records, s.sign(&dns.NSEC{Hdr: signedHeader(owner, dns.TypeNSEC), NextDomain: owners[(i+1)%len(owners)], TypeBitMap: types})...)
	}
	var text strings.Builder
	for _, rr := range records {
		fmt.Fprintln(&text, rr)
	}
	return text.String()
}

// validatorName is in the certificate of the unbound that validates.
const validatorName = "dns.validator.example"

// validatorPort is where it answers over UDP and TCP.
const validatorPort = 5335

// startValidator runs unbound at Plan.Knot, over TLS and in the clear, as a public resolver that
// validates: anchor is a DNSKEY or DS of the zone that StartKnot serves.
func (g *gate) startValidator(domain, anchor string) {
	g.t.Helper()
	at := g.Plan.Knot
	cert, key := g.Certificate(validatorName, at.All()...)
	conf := g.Box.Write("validator.conf", fmt.Sprintf(`
server:
	interface: %[1]s@%[2]d
	interface: %[1]s@853
	tls-port: 853
	tls-service-pem: %[3]s
	tls-service-key: %[4]s
	access-control: 0.0.0.0/0 allow
	username: ""
	chroot: ""
	directory: %[5]s
	pidfile: ""
	use-syslog: no
	logfile: ""
	module-config: "validator iterator"
	trust-anchor: "%[6]s"
	ede: yes
	val-log-level: 2
	num-threads: 1
	local-zone: "example." nodefault
	do-ip6: no
remote-control:
	control-enable: no
stub-zone:
	name: "%[7]s"
	stub-addr: %[1]s
forward-zone:
	name: "."
	forward-addr: %[8]s
`, at.V4, validatorPort, cert, key, g.Box.Dir, anchor, domain, g.Plan.World.V4))
	p := g.Internet.Start("unbound", "-d", "-c", conf)
	netlab.Eventually(g.t, 30*time.Second, func() error {
		_, err := g.Box.QueryAt(netip.AddrPortFrom(at.V4, validatorPort), newQuery("ready.other.example"), "udp")
		return netlab.Check(err == nil, "the validating unbound does not answer: %v\n%s", err, p.Output())
	})
}
