package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/pkg/markdial"
)

// errUnknown marks what says nothing about the route.
var errUnknown = errors.New("unknown")

// found is what one probe found.
type found struct {
	time time.Duration // 0: none was measured
	err  error         // nil: good
}

// round sends all probes at the same time. All must be good; the slowest one's time counts.
func (w *worker) round(ctx context.Context, r Route) group.Result {
	result := group.Result{Member: r.Name}
	if r.Closed != "" {
		result.Reason = r.Closed
		return result
	}
	probes := r.Probing.Probes
	all := make([]found, len(probes))
	done := make(chan struct{}, len(probes))
	for i := 1; i < len(probes); i++ {
		go func() {
			all[i] = w.probe(ctx, r, probes[i])
			done <- struct{}{}
		}()
	}
	all[0] = w.probe(ctx, r, probes[0])
	for range probes[1:] {
		<-done
	}
	for i, f := range all {
		switch {
		case f.err == nil:
			result.Time = max(result.Time, f.time)
		case !errors.Is(f.err, errUnknown):
			return group.Result{Member: r.Name, Reason: fmt.Sprintf("%s: %s", probes[i], reason(f.err, r))}
		case !result.Unknown:
			result.Unknown, result.Reason = true, fmt.Sprintf("%s: %s", probes[i], reason(f.err, r))
		}
	}
	result.OK = !result.Unknown
	return result
}

func (w *worker) probe(ctx context.Context, r Route, p gateway.Probe) found {
	if p.Kind == gateway.ProbeHandshake {
		return found{err: r.Handshake.err()}
	}
	select {
	case w.prober.slots <- struct{}{}:
		defer func() { <-w.prober.slots }()
	case <-ctx.Done():
		return found{err: ctx.Err()}
	}
	began := time.Now()
	ctx, cancel := context.WithDeadline(ctx, began.Add(Timeout(r.Probing.Every)))
	defer cancel()
	var err error
	switch p.Kind {
	case gateway.ProbePing:
		err = ping(ctx, r, p.Addr)
	case gateway.ProbeTCP:
		err = connect(ctx, r, netip.AddrPortFrom(p.Addr, p.Port))
	case gateway.ProbeDNS:
		err = ask(ctx, r, p)
	case gateway.ProbeHTTP:
		err = w.get(ctx, p)
	default:
		err = fmt.Errorf("%w: no such kind of probe", errUnknown)
	}
	return found{time.Since(began), err}
}

func (h Handshake) err() error {
	switch h.State {
	case HandshakeGood:
		return nil
	case HandshakeBad:
		return errors.New(h.Reason)
	}
	return unknown(h.Reason)
}

func unknown(why string) error { return &unknownError{why} }

// unknownError is errUnknown with a reason of its own.
type unknownError struct{ why string }

func (e *unknownError) Error() string { return e.why }

func (e *unknownError) Is(target error) bool { return target == errUnknown }

// connect opens a TCP connection. A refusal is an answer, too: there is a host, and the way
// to it works.
func connect(ctx context.Context, r Route, to netip.AddrPort) error {
	c, err := markdial.BoundDialer(r.Mark, r.Link, 0).DialContext(ctx, "tcp", to.String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// ask queries the probe's resolver, or the route's, for a name.
func ask(ctx context.Context, r Route, p gateway.Probe) error {
	servers := r.Resolvers
	if p.Addr.IsValid() {
		servers = []netip.AddrPort{netip.AddrPortFrom(p.Addr, p.Port)}
	}
	if len(servers) == 0 {
		return unknown("the route has no resolvers of its own, and the probe names none")
	}
	return markdial.Client{Servers: servers, Mark: r.Mark, Link: r.Link}.Ask(ctx, p.Name)
}

// reason says in few words why a probe failed.
func reason(err error, r Route) string {
	var number syscall.Errno
	var network net.Error
	switch {
	case errors.Is(err, errUnknown):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Sprintf("no answer within %v", Timeout(r.Probing.Every))
	case errors.As(err, &number):
		return number.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
