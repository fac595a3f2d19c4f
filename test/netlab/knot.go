//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// StartKnot serves a zone at Plan.Knot by Debian's knotd, as its owner's
// authoritative server does; zone is the zone file's text. unbound and dnsmasq ask
// the world and not this server: it is for upstreams of the product.
func (l *Lab) StartKnot(domain, zone string) *Process {
	l.t.Helper()
	Need(l.t, "knotd")
	dir := l.Dir + "/knot"
	l.write("knot/zone", zone)
	conf := l.write("knot/knot.conf", fmt.Sprintf(`
server:
    listen: [ %s@53, %s@53 ]
    rundir: %[3]s
    pidfile: %[3]s/knot.pid
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %[3]s
control:
    listen: %[3]s/knot.sock
log:
  - target: stderr
    any: info
zone:
  - domain: %[4]s
    file: %[3]s/zone
    zonefile-load: whole
    journal-content: none
`, l.Plan.Knot.V4, l.Plan.Knot.V6, dir, domain))
	p := l.Internet.Start("knotd", "--config", conf)
	r := &Resolver{Process: p, Pair: l.Plan.Knot, lab: l, prober: l.Internet.Namespace}
	r.await()
	return p
}

// ValidatorServerName is in the certificate of StartValidator's unbound.
const ValidatorServerName = "dns.validator.example"

// ValidatorPort is where StartValidator's unbound answers over UDP and TCP.
const ValidatorPort = 5335

// StartValidator runs unbound at Plan.Knot, over TLS and in the clear, as a public resolver that
// validates: anchor is a DNSKEY or DS of the zone that StartKnot serves.
func (l *Lab) StartValidator(domain, anchor string) *Process {
	l.t.Helper()
	at := l.Plan.Knot
	cert, key := l.ca.Files(ValidatorServerName, at.All()...)
	conf := l.write("validator.conf", fmt.Sprintf(`
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
`, at.V4, ValidatorPort, cert, key, l.Dir, anchor, domain, authoritative().V4))
	p := l.Internet.Start("unbound", "-d", "-c", conf)
	m := new(dns.Msg).SetQuestion("ready."+ownZone+".", dns.TypeA)
	Eventually(l.t, 30*time.Second, func() error {
		_, err := l.Internet.exchange("udp", netip.AddrPortFrom(at.V4, ValidatorPort), m, time.Second)
		return Check(err == nil, "netlab: the validating unbound does not answer: %v\n%s", err, p.Output())
	})
	return p
}
