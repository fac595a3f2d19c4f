package upstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// lost handles a flight that ended without a reply. A socket that broke may have been idle
// for too long, or closed on the queries before this one (RFC 7766, section 6.2.4), or be
// bound to the address of a link that is gone: the query is sent once more on a new one. A
// resolver may also have no UDP, and say so by ICMP.
func (l *lane) lost(f *flight, err error) {
	f.close()
	unopened := errors.As(err, new(openError))
	switch {
	case l.over:
		return
	case !unopened && !f.alone:
		l.instead(f, f.pool, f.using, true)
		return
	case f.pool.datagram && !unopened && !l.tcp:
		l.overTCP("refused", f.using)
		return
	case !f.pool.datagram:
		l.tcpLost = true
		if l.r.Transport == address.UDP {
			l.missed |= wire.TCP
		}
		if l.held != nil {
			l.settleForPart()
			return
		}
		if l.caseOdd && !l.caseTried {
			l.anyCase()
			return
		}
		if l.first == f && l.r.Transport == address.UDP && !l.r.opts.forceTCP { // UDP was left out for what is known
			l.instead(f, l.r.udp, l.datagram(wire.EveryFeature), false)
			return
		}
	}
	if !l.flying() {
		if unopened && !f.pool.datagram && !local(err) {
			l.race.sent = true // the attempt to connect
		}
		l.fail(err, true)
	}
}

// heard handles the reply to a flight; doubted says that others were sent that tried to look
// like it.
func (l *lane) heard(f *flight, msg []byte, doubted bool) {
	m, err := l.read(f, msg)
	switch {
	case l.over:
	case err != nil:
		l.fail(err, true)
	case m.Truncated && f.pool.datagram:
		l.hold(m, "truncated", f.using)
	case doubted && !l.tcpLost:
		l.hold(m, "mismatch", f.using)
	case m.Rcode == dns.RcodeBadCookie && f.using&wire.Cookies != 0:
		// RFC 7873, section 5.3: once more with the cookie that came with it, then over TCP.
		if l.badCookie {
			l.overTCP("cookie", f.using)
			return
		}
		l.badCookie = true
		l.instead(f, f.pool, f.using, false)
	case wire.Rejected(f.using, m) != 0:
		l.missed |= wire.Rejected(f.using, m)
		l.instead(f, f.pool, f.using&^wire.Rejected(f.using, m), false)
	case !l.race.q.SubnetFits(m):
		l.fail(errSubnet, true)
	case l.r.opts.ignore.In(msg, f.records(msg)):
		l.fail(errIgnored, false)
	default:
		l.accept(f, m, len(msg))
	}
}

// errIgnored is an answer with an address that is to be ignored, which no other host can
// have written.
var errIgnored = errors.New("the answer has an address that is ignored")

// errSubnet is an answer for another subnet than the query's.
var errSubnet = fmt.Errorf("%w: the answer is for another client subnet (RFC 7871)", errUnpack)

// records returns where the records of a reply begin.
func (f *flight) records(msg []byte) int {
	if msg[5] == 1 {
		return f.query.End
	}
	return wire.HeaderLen
}

// read unpacks a reply and takes from it what it shows of the resolver.
func (l *lane) read(f *flight, msg []byte) (*dns.Msg, error) {
	now := time.Now()
	f.close()
	l.replied = true
	l.r.worked(now.Sub(f.sent), now)
	if c := f.cookie.Client; f.using&wire.Cookies != 0 {
		if got := wire.CookieIn(msg, f.records(msg)); len(got) > wire.ClientCookieLen {
			l.r.cookies.Keep(c, got[wire.ClientCookieLen:])
			f.given = true
		}
	}
	l.race.q.OwnCase(msg)
	m := new(dns.Msg)
	if err := m.Unpack(msg); err != nil {
		if !f.pool.datagram {
			return nil, fmt.Errorf("%w: %w", errUnpack, err)
		}
		// Cut short without the TC bit, by the resolver or on the way. Its question
		// section matched, so TCP will tell.
		m.Truncated, m.Answer, m.Ns, m.Extra = true, nil, nil, nil
	}
	f.pool.metrics.reply(m.Rcode, now.Sub(f.sent))
	return m, nil
}

// hold keeps a reply for the case that TCP brings none.
func (l *lane) hold(m *dns.Msg, reason string, using wire.Features) {
	l.held = m
	if l.tcpLost {
		l.settleForPart()
		return
	}
	l.overTCP(reason, using)
	if now := time.Now(); l.r.capabilities().Usable(now)&wire.TCP == 0 {
		l.partial = now.Add(l.patience)
	}
}

// accept ends the lane with an answer.
func (l *lane) accept(f *flight, m *dns.Msg, size int) {
	l.used, l.missed = worked(f, m, size, l.missed)
	l.size = size
	if !f.pool.datagram && f.lane.held != nil {
		l.r.cookies.Forget() // what TCP brought needs no cookie; the next datagram asks for one anew
	}
	if unhelpful(m) || !l.late {
		l.learn()
		l.close()
	} else {
		l.over = true
	}
	l.race.answered(l.r, m)
}

// worked returns the features that the answered flight used, and what remains missed.
func worked(f *flight, m *dns.Msg, size int, missed wire.Features) (used, still wire.Features) {
	used = f.using &^ (wire.Large | wire.Cookies)
	if f.given {
		used |= wire.Cookies
	} else if f.using&wire.Cookies != 0 && m.IsEdns0() != nil { // it gives none
		missed |= wire.Cookies
	}
	switch {
	case size <= dns.MinMsgSize:
		missed &^= wire.Large
	case f.pool.datagram:
		used |= wire.Large
	}
	if f.pool.datagram && !f.kept {
		used &^= wire.Case
		missed |= wire.Case
	}
	return used, missed
}

// overheard handles a reply that comes when the race has its answer.
func (l *lane) overheard(f *flight, msg []byte) {
	if m, err := l.read(f, msg); err == nil && wire.Rejected(f.using, m) == 0 {
		used, _ := worked(f, m, len(msg), 0)
		l.used |= used
	}
}

// learn draws the lane's conclusions: what was used by a query that was answered works, and
// what only those relied on that were not answered may not.
func (l *lane) learn() {
	if l.used == 0 && l.held == nil {
		return
	}
	l.r.learn(l.used, l.missed|l.unheard(), time.Now())
}

// unheard returns what all queries have in common that were met with silence. Silence tells
// nothing of the case of names, and of large datagrams only where the answer is large.
func (l *lane) unheard() wire.Features {
	if !l.late || !l.flying() {
		return 0
	}
	common := wire.EveryFeature &^ wire.Case
	if l.size <= dns.MinMsgSize || l.used&wire.TCP == 0 {
		common &^= wire.Large
	}
	for _, f := range l.flights {
		if f.open {
			common &= f.using
		}
	}
	return common
}

// anyCase asks again from another port with another id, and lets the resolver change the
// case: who wants to forge has to guess both twice.
func (l *lane) anyCase() {
	l.caseTried = true
	l.again(l.first.using)
}

// odd handles a message that may be the resolver's own way of answering, or a forged one.
func (l *lane) odd(f *flight, v wire.Verdict, msg []byte) {
	switch {
	case v == wire.WrongCase && !l.caseTried:
		l.caseOdd = true
		if l.r.capabilities().Seen&wire.Case != 0 && !l.tcp { // it does know better
			l.overTCP("case", f.using)
			return
		}
		l.anyCase()
	case v == wire.WithoutCookie:
		l.race.q.OwnCase(msg)
		if m := new(dns.Msg); m.Unpack(msg) == nil {
			l.hold(m, "cookie", f.using)
		}
	case v == wire.HasIgnored:
		l.poisoned = true // the resolver's own answer may come, or it is asked some other way
	case v == wire.UnknownID:
		l.overTCP("mismatch", f.using)
	}
}

// local reports an error of connecting that the kernel gives without sending anything, mostly
// because the route's table ends in "unreachable".
func local(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EPERM, unix.EACCES, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
