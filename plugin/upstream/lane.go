package upstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// lane is one resolver's part in a race. What is sent after the first query, and when, is in
// step, and each only while nothing helpful was heard.
type lane struct {
	race     *race
	r        *resolver
	begun    time.Time
	patience time.Duration
	pace     time.Duration // of the steps
	due      time.Time     // of the next one
	steps    int

	flights []*flight
	first   *flight
	missed  wire.Features // no usable reply came to queries that relied on these
	used    wire.Features // by the query that was answered
	size    int           // of the answer
	held    *dns.Msg      // truncated, or not trusted: what there is if TCP brings nothing
	partial time.Time
	replied bool // the resolver is there
	late    bool // its patience is over
	over    bool // no more will come of it

	tcp, tcpLost, caseOdd, caseTried, badCookie, poisoned bool // poisoned: an answer was ignored

	flights1 [1]*flight
}

// errUnpack is a reply to our query that is not a DNS message.
var errUnpack = errors.New("malformed reply")

// openError is why no socket could be opened.
type openError struct{ error }

func (e openError) Unwrap() error { return e.error }

func newLane(r *race, to *resolver, now time.Time) *lane {
	l := &r.lane
	if l.race != nil {
		l = new(lane)
	}
	*l = lane{race: r, r: to, begun: now, patience: to.patience()}
	l.flights = l.flights1[:0]
	l.pace = max(l.patience, min(minPace, r.opts.timeout/3))
	l.due = now.Add(stepAfter(1, l.pace))
	return l
}

// start sends the first query, as all that is known of the resolver allows.
func (l *lane) start() {
	usable := l.r.capabilities().Usable(l.begun)
	if l.r.Transport != address.UDP || l.r.opts.forceTCP || usable&wire.UDP == 0 {
		l.tcp = true
		l.first = l.launch(l.r.tcp, usable&wire.EDNS|wire.TCP, false)
		return
	}
	l.first = l.launch(l.r.udp, l.datagram(usable), false)
}

// datagram returns the features of a query over UDP. Cookies are sent once EDNS is known to
// work, so that one thing is found out at a time.
func (l *lane) datagram(usable wire.Features) wire.Features {
	u := usable & (wire.UDP | wire.EDNS | wire.Large | wire.Case | wire.Cookies)
	if u&wire.EDNS == 0 {
		u &^= wire.NeedingEDNS
	}
	if l.r.capabilities().Seen&wire.EDNS == 0 {
		u &^= wire.Cookies
	}
	return u
}

// minPace is the shortest time before a silent resolver is sent anything more. Many names
// take long to resolve: unbound gives a server that it does not know 376 ms.
const minPace = 400 * time.Millisecond

// stepAfter returns how long after the first query a step is due: 1, 2, 3, 5, 9, 17 times
// the pace.
func stepAfter(step int, pace time.Duration) time.Duration {
	if step <= 2 {
		return time.Duration(step) * pace
	}
	return (1<<(step-2) + 1) * pace
}

// advance takes the steps that are due.
func (l *lane) advance(now time.Time) time.Time {
	if !l.partial.IsZero() && !now.Before(l.partial) {
		l.settleForPart()
		return time.Time{}
	}
	patient := l.begun.Add(l.patience)
	if !l.late && !now.Before(patient) {
		l.late = true
		l.r.health.late.Add(1)
	}
	for !now.Before(l.due) {
		l.steps++
		l.step(now)
		l.due = l.begun.Add(stepAfter(l.steps+1, l.pace))
	}
	if !l.late {
		return earlier(l.due, patient)
	}
	return earlier(l.due, l.partial)
}

// step tries to get round a silence, first the cheap and likely reasons: a lost packet, a
// socket that does not hear (it is bound to an address that is gone), EDNS or large datagrams
// that are dropped on the way (RFC 6891, section 6.2.6; RFC 8906), UDP that is.
func (l *lane) step(now time.Time) {
	for _, f := range l.flights {
		if f.open && f.socket != nil && !f.pool.datagram && !f.alone && now.Sub(f.sent) >= l.race.opts.timeout && f.socket.silent(f.sent) {
			f.alone = true // once: it may still be answered here
			l.launch(f.pool, f.using, true)
		}
	}
	f := l.first
	if !f.pool.datagram || !f.open || f.socket == nil || l.held != nil {
		return // without a socket, the error of opening one is in the mailbox
	}
	known := l.r.capabilities()
	switch l.steps {
	case 1:
		f.socket.write(f)
	case 2:
		f.socket.silent(f.sent)
		l.again(f.using)
		l.without(f.using, wire.Cookies&^known.Seen, (wire.EDNS|wire.Large)&^known.Seen)
	case 3:
		if known.Usable(now)&wire.TCP != 0 {
			l.overTCP("silence", f.using)
		}
		l.without(f.using, wire.Cookies, 0)
	default:
		l.again(f.using)
		l.without(f.using, 0, wire.EDNS)
	}
}

// again sends a datagram from a new port.
func (l *lane) again(using wire.Features) { l.launch(l.r.udp, using, true) }

// without sends a datagram without cookie, or, where there is none to leave out, without
// EDNS, if the features to leave out are among those that a query used.
func (l *lane) without(using, cookie, edns wire.Features) {
	switch {
	case using&cookie != 0:
		l.again(using &^ wire.Cookies)
	case using&wire.Cookies == 0 && edns&wire.EDNS != 0 && using&wire.EDNS != 0:
		l.again(using &^ wire.NeedingEDNS)
	}
}

// overTCP sends the query over TCP, once.
func (l *lane) overTCP(reason string, using wire.Features) {
	if l.tcp {
		return
	}
	l.tcp = true
	l.r.metrics.tcpRetry(reason)
	l.launch(l.r.tcp, using&wire.EDNS|wire.TCP, false)
}

func (l *lane) flying() bool {
	for _, f := range l.flights {
		if f.open {
			return true
		}
	}
	return false
}

func (l *lane) close() {
	l.over = true
	for _, f := range l.flights {
		f.close()
	}
	if l.late {
		l.late = false
		l.r.health.late.Add(-1)
	}
}

// fail ends the lane with an error. blame says that it is the resolver's fault.
func (l *lane) fail(err error, blame bool) {
	l.race.err = fmt.Errorf("%s: %w", l.r.name, err)
	l.r.metrics.failure(reason(err))
	if blame {
		l.r.failed(err, func() bool { return l.race.inUse(l.r) })
	}
	l.close()
}

// settleForPart ends the lane with what was held back for TCP.
func (l *lane) settleForPart() {
	m := l.held
	l.learn()
	l.close()
	l.race.answered(l.r, m)
}
