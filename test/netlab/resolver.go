//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// UnboundServerName is in the certificate of the lab's unbound.
const UnboundServerName = "dns.unbound.example"

// Resolver is a resolver program of Debian that runs in the lab. What it does not
// know it asks the world.
type Resolver struct {
	*Process
	Pair

	lab    *Lab
	asked  *regexp.Regexp // a line of its log about a query: source, name, type
	mu     sync.Mutex
	seen   int // bytes of the log that Reset has passed
	marks  int // queries of our own, by which we know that the log is complete
	prober *Namespace
}

// startUnbound runs unbound as a public resolver over UDP, TCP and DoT.
func (l *Lab) startUnbound() *Resolver {
	l.t.Helper()
	at := l.Plan.Unbound
	cert, key := l.ca.Files(UnboundServerName, at.All()...)
	conf := l.write("unbound.conf", fmt.Sprintf(`
server:
	interface: %[1]s
	interface: %[2]s
	interface: %[1]s@853
	interface: %[2]s@853
	tls-port: 853
	tls-service-pem: %[3]s
	tls-service-key: %[4]s
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	username: ""
	chroot: ""
	directory: %[5]s
	pidfile: ""
	use-syslog: no
	logfile: ""
	log-queries: yes
	module-config: "iterator"
	num-threads: 1
	local-zone: "example." nodefault
	local-zone: "test." nodefault
	outgoing-interface: %[1]s
	outgoing-interface: %[2]s
remote-control:
	control-enable: no
forward-zone:
	name: "."
	forward-addr: %[6]s
`, at.V4, at.V6, cert, key, l.Dir, authoritative().V4))
	return &Resolver{Pair: at, lab: l, prober: l.Internet.Namespace,
		Process: l.Internet.Start("unbound", "-d", "-c", conf),
		asked:   regexp.MustCompile(`info: (\S+) (\S+) (\S+) IN`)}
}

// startDnsmasq runs dnsmasq as the ISP's resolver.
func (l *Lab) startDnsmasq() *Resolver {
	l.t.Helper()
	at := l.Plan.ISP
	return &Resolver{Pair: at, lab: l, prober: l.ISP.Namespace,
		Process: l.ISP.Start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
			"--log-facility=-", "--log-queries=extra", "--no-resolv", "--no-hosts", "--bind-interfaces",
			"--except-interface=lo", "--listen-address="+at.V4.String()+","+at.V6.String(),
			"--server="+authoritative().V4.String()),
		asked: regexp.MustCompile(`\S+/\d+ query\[\S+\] \S+ from \S+`)}
}

// await waits until the program answers over UDP on both addresses.
func (r *Resolver) await() {
	r.lab.t.Helper()
	m := new(dns.Msg).SetQuestion("ready."+ownZone+".", dns.TypeA)
	for _, at := range r.All() {
		Eventually(r.lab.t, 10*time.Second, func() error {
			_, err := r.prober.exchange("udp", netip.AddrPortFrom(at, 53), m, 200*time.Millisecond)
			return Check(err == nil, "netlab: %s at %s does not answer: %v\n%s", r.name, at, err, r.Output())
		})
	}
}

// Queries returns the queries that the program was asked since the last Reset, as
// its own log has them; with names only those about them and what is below them.
// When and Proto are not in the log and stay empty; From has no port.
func (r *Resolver) Queries(names ...string) []Query {
	r.lab.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp()
	var log []Query
	for line := range strings.Lines(r.Output()[r.seen:]) {
		if q, ok := r.parse(line); ok && !ours(q.Name) {
			q.Server, q.Egress = r.V4, r.lab.Egress(q.From.Addr())
			if q.From.Addr().Is6() {
				q.Server = r.V6
			}
			log = append(log, q)
		}
	}
	return chooseQueries(log, names)
}

// catchUp asks a query of our own and waits until it is in the log: then all that
// were asked before are there too.
func (r *Resolver) catchUp() {
	r.lab.t.Helper()
	r.marks++
	name := fmt.Sprintf("mark%d.%s", r.marks, ownZone)
	at := netip.AddrPortFrom(r.V4, 53)
	if _, err := r.prober.exchange("udp", at, new(dns.Msg).SetQuestion(name+".", dns.TypeA), dialLimit); err != nil {
		r.lab.t.Fatalf("netlab: %s: %v\n%s", r.name, err, r.Output())
	}
	r.WaitOutput(name, dialLimit)
}

// parse reads a line of the log of unbound, "info: SOURCE NAME TYPE IN", or of
// dnsmasq, "1 SOURCE/PORT query[TYPE] NAME from SOURCE".
func (r *Resolver) parse(line string) (Query, bool) {
	match := r.asked.FindStringSubmatch(line)
	if match == nil {
		return Query{}, false
	}
	var source, name, kind string
	if len(match) == 4 {
		source, name, kind = match[1], match[2], match[3]
	} else {
		words := strings.Fields(match[0])
		source, name, kind = words[4], words[2], strings.TrimSuffix(strings.TrimPrefix(words[1], "query["), "]")
	}
	from, err := netip.ParseAddr(source)
	if err != nil {
		return Query{}, false
	}
	return Query{Name: wire.Canonical(name), Type: dns.StringToType[kind], From: netip.AddrPortFrom(from, 0)}, true
}

// Reset forgets the queries so far.
func (r *Resolver) Reset() {
	r.lab.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.catchUp()
	r.seen = len(r.Output())
}
