package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// flight is one query on its way to a resolver over one socket. The socket's reader reads
// it, so what is above the line stays as it is once it is sent.
type flight struct {
	lane   *lane
	mail   *mailbox
	using  wire.Features
	query  wire.Packed
	cookie wire.Cookie
	loose  bool // the reply's name may have any case
	alone  bool // on a socket of its own, because another one broke or may be broken

	pool     *pool
	socket   *socket
	cancel   context.CancelFunc // of a stream of its own
	id       uint16
	sent     time.Time
	open     bool // a reply may still come
	given    bool // the reply had a server's cookie
	kept     bool // the reply's name had the case of the query's; set before the reply is posted
	poisoned bool // guarded by the socket: an answer was ignored
	asked    bool // guarded by the socket: an odd reply was reported
}

// launch begins a flight, on a new socket where alone says so.
func (l *lane) launch(p *pool, using wire.Features, alone bool) *flight {
	f := &l.race.flight
	if f.lane != nil {
		f = new(flight)
	}
	*f = flight{
		lane: l, mail: &l.race.mail, pool: p, using: using, alone: alone, open: true, sent: time.Now(),
		loose: l.caseTried || using&wire.Case == 0,
	}
	l.flights = append(l.flights, f)
	if p.mux != nil {
		f.exchange()
		return f
	}
	s, err := p.ready(l.race.ctx, alone)
	switch {
	case err != nil:
		f.mail.post(event{flight: f, err: openError{err}})
	case s != nil:
		f.depart(s)
	default:
		l.await(f)
	}
	return f
}

// instead begins a flight in the place of one that has ended.
func (l *lane) instead(of *flight, p *pool, using wire.Features, alone bool) {
	f := l.launch(p, using, alone)
	if l.first == of {
		l.first = f
	}
}

// await has a stream opened for the flight.
func (l *lane) await(f *flight) {
	p, get, ctx, end := f.pool, f.pool.get, l.race.ctx, earlier(l.race.end, f.sent.Add(l.r.opts.timeout))
	if f.alone {
		get = p.openExclusive
	}
	go func() {
		s, err := get(ctx, end)
		e := event{flight: f, socket: s}
		if err != nil {
			e = event{flight: f, err: openError{err}}
		}
		if !l.race.mail.post(e) && s != nil {
			p.put(s)
		}
	}()
}

// depart sends the query on a socket with a place for it.
func (f *flight) depart(s *socket) {
	l := f.lane
	f.socket = s
	if f.using&wire.Cookies != 0 {
		f.cookie = l.r.cookies.Of(s.local)
	}
	var err error
	if f.query, err = l.race.q.Pack(f.using, f.cookie, l.r.Transport.Encrypted()); err == nil {
		f.sent = time.Now()
		l.race.sent = true
		f.pool.metrics.requests.Inc()
		f.pool.metrics.traffic.asked.Add(1)
		err = s.send(f)
	}
	if err != nil {
		f.mail.post(event{flight: f, err: err})
	}
}

// exchange sends the query on a stream of its own. No other host can write a reply there, so
// one that does not match is the resolver's error.
func (f *flight) exchange() {
	r := f.lane.race
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(r.ctx)
	query, err := r.q.Pack(f.using, wire.Cookie{}, true)
	if err != nil {
		f.mail.post(event{flight: f, err: err})
		return
	}
	f.query = query
	f.pool.metrics.requests.Inc()
	f.pool.metrics.traffic.asked.Add(1)
	client, mail := f.pool.mux, f.mail
	go func() {
		reply, err := client.Exchange(ctx, query.Framed)
		if err != nil {
			mail.post(event{flight: f, err: openError{err}})
			return
		}
		if v := wire.Match(query, reply.Msg, true); v != wire.Accepted {
			f.pool.onMismatch(v)
			mail.post(event{flight: f, err: openError{fmt.Errorf("%w: %s", errUnpack, v)}})
			return
		}
		wire.Age(reply.Msg, reply.Age)
		mail.post(event{flight: f, msg: reply.Msg})
	}()
}

// close gives the socket's place back, or ends the stream.
func (f *flight) close() {
	if !f.open {
		return
	}
	f.open = false
	if f.cancel != nil {
		f.cancel()
	}
	if f.socket != nil {
		f.socket.unregister(f)
		f.pool.put(f.socket)
	}
}
