//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
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

// Certificate makes a certificate that the box trusts, and returns its files.
func (l *Lab) Certificate(name string, at ...netip.Addr) (cert, key string) {
	return l.ca.Files(name, at...)
}
