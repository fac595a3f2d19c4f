//go:build linux

package netlab

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// defaultTTL of what the world answers, in seconds.
const defaultTTL = 300

// ownZone is asked by the lab itself, to know that a program is ready; no log has it.
const ownZone = "netlab.example"

func ours(name string) bool { return strings.HasSuffix(name, "."+ownZone) }

// World is what all names of the lab's internet mean, and the log of queries.
// Every name exists and has one IPv4 and one IPv6 address of its own, always the
// same, where a host answers; scripts change that name by name. All methods may be
// called from any goroutine and while queries are answered.
type World struct {
	t      TB
	egress func(netip.Addr) Egress

	mu        sync.Mutex
	records   map[string][]dns.RR
	behaviors map[string]Behavior
	ttls      map[string]uint32
	owner     map[netip.Addr]string
	hosts     map[string]Pair
	log       []Query
}

// Manner is how the world answers for a name and all below it.
type Behavior struct {
	Rcode     int            // dns.RcodeServerFailure, dns.RcodeNameError, ...
	Delay     time.Duration  // before the answer
	Silent    bool           // no answer at all
	Truncated bool           // over UDP: no records and TC, so that TCP is asked
	Addresses int            // addresses of each family, instead of one
	Forge     func(*dns.Msg) // changes the answer, as a hostile resolver does
}

// Query is one query that a server of the world received.
type Query struct {
	When   time.Time
	Name   string // lower case, without the last dot
	Type   uint16
	Proto  string // udp, tcp or tls
	From   netip.AddrPort
	Server netip.Addr
	Egress Egress // by which it came, told by From
}

// String prints the query in one line, for messages.
func (q Query) String() string {
	return fmt.Sprintf("%s %s over %s to %s, from %s (%s)", q.Name, dns.TypeToString[q.Type], q.Proto, q.Server, q.From, q.Egress)
}

func newWorld(t TB, egress func(netip.Addr) Egress) *World {
	return &World{t: t, egress: egress, records: map[string][]dns.RR{}, behaviors: map[string]Behavior{},
		ttls: map[string]uint32{}, owner: map[netip.Addr]string{}, hosts: map[string]Pair{}}
}

// Add scripts records in zone-file form, "www.example. 60 IN CNAME cdn.example.". A
// name with an A or AAAA record has only such addresses as are scripted; one with
// other records keeps its own addresses.
func (w *World) Add(records ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			w.t.Fatalf("netlab: world: record %q: %v", text, err)
		}
		name := wire.Canonical(rr.Header().Name)
		w.records[name] = append(w.records[name], rr)
	}
}

// Remove takes the scripted records, manner and TTL of a name away.
func (w *World) Remove(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name = wire.Canonical(name)
	delete(w.records, name)
	delete(w.behaviors, name)
	delete(w.ttls, name)
}

// Behave sets how the world answers for a name and all below it.
func (w *World) Behave(name string, m Behavior) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.behaviors[wire.Canonical(name)] = m
}

// TTL sets the TTL, in seconds, of the addresses that a name and all below it have
// of themselves; records of Add have their own. "." is for all names.
func (w *World) TTL(name string, seconds uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ttls[wire.Canonical(name)] = seconds
}

// Addresses returns the addresses that a name has of itself.
func (w *World) Addresses(name string) Pair {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.host(wire.Canonical(name), 0)
}

// Owner returns the name whose own address this is; empty where none is.
func (w *World) Owner(a netip.Addr) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owner[a]
}

// host gives a name its address number i: a hash of it in 30.128.0.0/9, and below
// 2a0f:aa::/32, the next free one where another name has that.
func (w *World) host(name string, i int) Pair {
	key := name
	if i > 0 {
		key = fmt.Sprintf("%s %d", name, i)
	}
	if p, ok := w.hosts[key]; ok {
		return p
	}
	h := fnv.New32a()
	h.Write([]byte(key))
	for bits := h.Sum32(); ; bits++ {
		p := Pair{
			V4: netip.AddrFrom4([4]byte{30, 128 | byte(bits>>16), byte(bits >> 8), byte(bits)}),
			V6: netip.AddrFrom16([16]byte{0x2a, 0x0f, 0, 0xaa, 12: byte(bits>>16) | 128, 13: byte(bits >> 8), 14: byte(bits), 15: 1}),
		}
		if w.owner[p.V4] != "" {
			continue
		}
		w.hosts[key], w.owner[p.V4], w.owner[p.V6] = p, name, name
		return p
	}
}

// resolve answers a query from scripts, following CNAMEs as a resolver does.
func (w *World) resolve(name string, qtype uint16) (answer []dns.RR, soa dns.RR) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 16 { // a loop of CNAMEs ends here
		own := w.records[wire.Canonical(name)]
		var next string
		for _, rr := range own {
			cname, is := rr.(*dns.CNAME)
			if rr.Header().Rrtype != qtype && !is {
				continue
			}
			c := dns.Copy(rr)
			c.Header().Name = name // as it was asked: 0x20
			answer = append(answer, c)
			if is && qtype != dns.TypeCNAME {
				next = cname.Target
			}
		}
		if next == "" {
			answer = append(answer, w.addresses(name, qtype, own)...)
			break
		}
		name = next
	}
	return answer, &dns.SOA{
		Hdr: dns.RR_Header{Name: zoneOf(name), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60},
		Ns:  "ns.world.example.", Mbox: "world.example.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60,
	}
}

// addresses of a name that has none in a script.
func (w *World) addresses(name string, qtype uint16, own []dns.RR) (answer []dns.RR) {
	scripted := slices.ContainsFunc(own, func(rr dns.RR) bool {
		return rr.Header().Rrtype == dns.TypeA || rr.Header().Rrtype == dns.TypeAAAA
	})
	if scripted || (qtype != dns.TypeA && qtype != dns.TypeAAAA) {
		return nil
	}
	key := wire.Canonical(name)
	ttl, ok := nearest(w.ttls, key)
	if !ok {
		ttl = defaultTTL
	}
	behavior, _ := nearest(w.behaviors, key)
	header := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: ttl}
	for i := range max(behavior.Addresses, 1) {
		p := w.host(key, i)
		if qtype == dns.TypeA {
			answer = append(answer, &dns.A{Hdr: header, A: p.V4.AsSlice()})
		} else {
			answer = append(answer, &dns.AAAA{Hdr: header, AAAA: p.V6.AsSlice()})
		}
	}
	return answer
}

// behavior of a name, its own or of the nearest name above it.
func (w *World) behavior(name string) Behavior {
	w.mu.Lock()
	defer w.mu.Unlock()
	m, _ := nearest(w.behaviors, wire.Canonical(name))
	return m
}

func nearest[V any](m map[string]V, name string) (V, bool) {
	for {
		if v, ok := m[name]; ok || name == "" {
			return v, ok
		}
		_, name, _ = strings.Cut(name, ".")
	}
}

// zoneOf is the owner name of a SOA: the last two labels.
func zoneOf(name string) string {
	labels := dns.SplitDomainName(name)
	return dns.Fqdn(strings.Join(labels[max(0, len(labels)-2):], "."))
}

// Queries returns the queries since the last Reset, oldest first; with names only
// those about them and what is below them.
func (w *World) Queries(names ...string) []Query {
	w.mu.Lock()
	defer w.mu.Unlock()
	return chooseQueries(w.log, names)
}

func chooseQueries(log []Query, names []string) []Query {
	var chosen []Query
	for _, q := range log {
		about := func(name string) bool {
			name = wire.Canonical(name)
			return q.Name == name || strings.HasSuffix(q.Name, "."+name)
		}
		if len(names) == 0 || slices.ContainsFunc(names, about) {
			chosen = append(chosen, q)
		}
	}
	return chosen
}

// Reset forgets the queries so far.
func (w *World) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = nil
}
