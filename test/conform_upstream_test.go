package test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab/dnsserver"
)

// script is what the upstream of the comparison knows below each zone that is asked for.
var script = `@ 300 SOA ns hostmaster 1 3600 600 86400 60
@ 300 NS ns
ns 300 A 30.9.0.53
a 300 A 30.9.0.1
MiXeD 300 A 30.9.0.2
both 300 A 30.9.0.3
both 300 AAAA 2a0f:9::3
c1 300 CNAME c2
c2 300 CNAME c3
c3 60 CNAME both
gone 300 CNAME nowhere
empty 300 CNAME a
txt 300 TXT "one" "two \"quoted\"" "\000\255"
mx 300 MX 10 a
mx 300 MX 20 both
_sip._tcp 300 SRV 1 2 5060 both
naptr 300 NAPTR 10 20 "s" "SIP+D2T" "" _sip._tcp
caa 300 CAA 0 issue "ca.example.net"
loc 300 LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
uri 300 URI 10 1 "https://a.example/"
https 300 HTTPS 1 . alpn="h3,h2" ipv4hint="30.9.0.4" ipv6hint="2a0f:9::4" ech="AEP+DQA/"
alias 300 HTTPS 0 https
svcb 300 SVCB 1 both mandatory="alpn" alpn="dot" key65280="x"
tlsa 300 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
sshfp 300 SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ds 300 DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
unknown 300 TYPE65280 \# 3 010203
dname 300 DNAME other
x.other 300 A 30.9.0.6
deep.ent 300 A 30.9.0.7
*.wild 300 A 30.9.0.8
dot\.in 300 A 30.9.0.9
\001\200b 300 A 30.9.0.10
` + strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstu.", 3) + `long 300 A 30.9.0.11
ttl1 1 A 30.9.0.12
ttl86400 86400 A 30.9.0.13
` + lines(28, "many 300 A 30.9.1.%d\n") + lines(240, "big 300 TXT \"%d "+strings.Repeat("x", 240)+"\"\n")

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i+1)
	}
	return b.String()
}

// pairs are the names and types that are asked for.
var pairs = []dns.Question{
	{Name: "a", Qtype: dns.TypeA}, {Name: "a", Qtype: dns.TypeAAAA}, {Name: "mixed", Qtype: dns.TypeA}, {Name: "both", Qtype: dns.TypeAAAA},
	{Name: "c1", Qtype: dns.TypeA}, {Name: "c1", Qtype: dns.TypeAAAA}, {Name: "c1", Qtype: dns.TypeCNAME}, {Name: "gone", Qtype: dns.TypeA},
	{Name: "empty", Qtype: dns.TypeAAAA}, {Name: "nowhere", Qtype: dns.TypeA}, {Name: "txt", Qtype: dns.TypeTXT}, {Name: "mx", Qtype: dns.TypeMX},
	{Name: "_sip._tcp", Qtype: dns.TypeSRV}, {Name: "naptr", Qtype: dns.TypeNAPTR}, {Name: "caa", Qtype: dns.TypeCAA}, {Name: "loc", Qtype: dns.TypeLOC},
	{Name: "uri", Qtype: dns.TypeURI}, {Name: "https", Qtype: dns.TypeHTTPS}, {Name: "alias", Qtype: dns.TypeHTTPS}, {Name: "svcb", Qtype: dns.TypeSVCB},
	{Name: "tlsa", Qtype: dns.TypeTLSA}, {Name: "sshfp", Qtype: dns.TypeSSHFP}, {Name: "ds", Qtype: dns.TypeDS}, {Name: "unknown", Qtype: 65280},
	{Name: "x.dname", Qtype: dns.TypeA}, {Name: "ent", Qtype: dns.TypeA}, {Name: "y.wild", Qtype: dns.TypeA}, {Name: `dot\.in`, Qtype: dns.TypeA},
	{Name: `\001\200b`, Qtype: dns.TypeA}, {Name: strings.Repeat("abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstu.", 3) + "long", Qtype: dns.TypeA},
	{Name: "ttl86400", Qtype: dns.TypeA}, {Name: "many", Qtype: dns.TypeA}, {Name: "big", Qtype: dns.TypeTXT},
}

// scripted is the upstream of the comparison. Names below any zone of three labels have
// the script's records, so that each way of asking finds the caches empty.
type scripted struct {
	mu    sync.Mutex
	zones map[string][]dns.RR
	asked map[dns.Question]int
}

// serve answers at an address over UDP and TCP.
func (s *scripted) serve(g *gate, at netip.AddrPort) {
	g.t.Helper()
	s.zones, s.asked = map[string][]dns.RR{}, map[dns.Question]int{}
	pc, err := g.Internet.ListenPacket("udp", at.String())
	if err != nil {
		g.t.Fatal(err)
	}
	l, err := g.Internet.Listen("tcp", at.String())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: pc}, {Listener: l, MaxTCPQueries: -1}} {
		server.Handler = s
		dnsserver.Start(g.t, server)
	}
}

func (s *scripted) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	name := strings.ToLower(q.Question[0].Name)
	s.mu.Lock()
	s.asked[dns.Question{Name: name, Qtype: q.Question[0].Qtype, Qclass: dns.ClassINET}]++
	s.mu.Unlock()
	if strings.HasPrefix(name, "slow") {
		time.Sleep(time.Second)
	}
	m := s.reply(q)
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if o := q.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// times returns how often a name and type were asked for.
func (s *scripted) times(name string, qtype uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[dns.Question{Name: strings.ToLower(name), Qtype: qtype, Qclass: dns.ClassINET}]
}

// reply is the whole answer to a query.
func (s *scripted) reply(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable, m.Compress = true, true
	labels := dns.SplitDomainName(strings.ToLower(q.Question[0].Name))
	if len(labels) < 3 {
		m.Rcode = dns.RcodeNameError
		return m
	}
	zone := dns.Fqdn(strings.Join(labels[len(labels)-3:], "."))
	records := s.zone(zone)
	if !q.RecursionDesired { // as an authority's: a referral
		m.Ns = find(records, zone, dns.TypeNS)
		return m
	}
	o := q.IsEdns0()
	do := o != nil && o.Do()
	m.AuthenticatedData = do || q.AuthenticatedData
	s.follow(m, records, q.Question[0].Name, zone, do)
	if len(m.Ns) == 0 && m.Rcode == dns.RcodeSuccess { // as resolvers add it
		m.Ns, m.Extra = find(records, zone, dns.TypeNS), find(records, "ns."+zone, dns.TypeA)
	}
	if o != nil {
		m.SetEdns0(1232, do)
	}
	return m
}

// follow fills in the answer for a name, through its CNAMEs and DNAMEs.
func (s *scripted) follow(m *dns.Msg, records []dns.RR, name, zone string, do bool) {
	qtype := m.Question[0].Qtype
	for range 16 {
		name = strings.ToLower(name)
		if found := find(records, name, qtype); len(found) > 0 {
			if m.Answer = append(m.Answer, withOwner(found, m.Question[0].Name)...); do && qtype == dns.TypeA {
				m.Answer = append(m.Answer, signature(found[0], zone))
			}
			return
		}
		if c := find(records, name, dns.TypeCNAME); len(c) > 0 {
			m.Answer = append(m.Answer, c...)
			name = c[0].(*dns.CNAME).Target
			continue
		}
		if d := find(records, "dname."+zone, dns.TypeDNAME); dns.IsSubDomain("dname."+zone, name) && name != "dname."+zone {
			target := strings.TrimSuffix(name, "dname."+zone) + d[0].(*dns.DNAME).Target
			m.Answer = append(m.Answer, d[0], &dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 300}, Target: target})
			name = target
			continue
		}
		break
	}
	exists := false
	for _, rr := range records {
		exists = exists || dns.IsSubDomain(name, strings.ToLower(rr.Header().Name))
	}
	if !exists {
		if w := find(records, "*.wild."+zone, qtype); len(w) > 0 && dns.IsSubDomain("wild."+zone, name) {
			m.Answer = append(m.Answer, withOwner(w, name)...)
			return
		}
		m.Rcode = dns.RcodeNameError
	}
	m.Ns = find(records, zone, dns.TypeSOA)
}

// zone returns the script's records below an origin.
func (s *scripted) zone(origin string) []dns.RR {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zones[origin] == nil {
		text := script
		if strings.HasPrefix(origin, "ready.") { // what the lab waits for
			text = "* 300 A 30.9.9.9\n* 300 AAAA 2a0f:9::9\n"
		}
		p := dns.NewZoneParser(strings.NewReader(text), origin, "script")
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			s.zones[origin] = append(s.zones[origin], rr)
		}
		if err := p.Err(); err != nil {
			panic(err)
		}
	}
	return s.zones[origin]
}

func find(records []dns.RR, name string, qtype uint16) (found []dns.RR) {
	for _, rr := range records {
		if h := rr.Header(); h.Rrtype == qtype && (strings.EqualFold(h.Name, name) || strings.HasPrefix(h.Name, "*.ready.")) {
			found = append(found, rr)
		}
	}
	return found
}

// withOwner returns copies for another owner where the records are of a wildcard.
func withOwner(records []dns.RR, name string) (all []dns.RR) {
	for _, rr := range records {
		rr = dns.Copy(rr)
		if strings.HasPrefix(rr.Header().Name, "*.") {
			rr.Header().Name = name
		}
		all = append(all, rr)
	}
	return all
}

// signature returns a record that looks like one, which no resolver here validates.
func signature(of dns.RR, zone string) dns.RR {
	h := of.Header()
	return &dns.RRSIG{
		Hdr:         dns.RR_Header{Name: h.Name, Rrtype: dns.TypeRRSIG, Class: dns.ClassINET, Ttl: h.Ttl},
		TypeCovered: h.Rrtype, Algorithm: dns.ECDSAP256SHA256, Labels: uint8(dns.CountLabel(h.Name)), OrigTtl: h.Ttl,
		Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(24 * time.Hour).Unix()),
		SignerName: zone, Signature: strings.Repeat("c2ln", 22),
	}
}
