package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/policy"
)

// tell sends systemd a state. Where no systemd started us it does nothing.
func (p *process) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.Warn("tell systemd", "state", state, "why", err)
	}
}

// reloading is what systemd wants to hear before a reload; READY=1 ends it.
func reloading() string { return daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec() }

// feedWatchdog tells systemd's watchdog that this process answers, for as long as it
// does. It returns at once where the unit has no WatchdogSec=, else when ctx ends.
func (p *process) feedWatchdog(ctx context.Context) {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.log.Warn("systemd's watchdog is not fed", "why", err)
		return
	}
	if limit == 0 {
		return
	}
	checks := []func(context.Context) error{p.turns}
	if p.sidecar != nil {
		checks = append(checks, p.sidecarAnswers)
	}
	if p.server != nil {
		l := &listening{now: p.listeners, answered: map[netip.AddrPort]bool{}}
		checks = append(checks, l.answer)
	}
	pause := limit / 4 // several misses in a row, not one, end the process
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := within(ctx, pause, checks); err != nil {
			if ctx.Err() == nil {
				p.log.Error("this process does not answer; systemd restarts it unless it soon does", "why", err, "limit", limit)
			}
			continue
		}
		p.tell(daemon.SdNotifyWatchdog)
	}
}

// within runs the checks with one limit for all of them.
func within(ctx context.Context, limit time.Duration, checks []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, check := range checks {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// turns asks the main loop, which a reload or a signal that never ends would block.
func (p *process) turns(ctx context.Context) error {
	select {
	case p.alive <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errors.New("the main loop is stuck")
	}
}

// sidecarAnswers asks the sidecar for its state, as `status` does.
func (p *process) sidecarAnswers(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		p.sidecar.Status()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("the sidecar is stuck")
	}
}

// listeners are those of the Corefile that is served now.
func (p *process) listeners() ([]firewall.Listener, error) {
	inst := p.server.instance()
	if inst == nil {
		return nil, errors.New("no server runs")
	}
	return corecheck.Listeners(inst.Caddyfile())
}

// listening asks our own listeners. One that answered once must go on answering;
// what never did (DNS over QUIC, an address that is not there yet) is left alone.
type listening struct {
	now      func() ([]firewall.Listener, error)
	answered map[netip.AddrPort]bool
}

func (l *listening) answer(ctx context.Context) error {
	all, err := l.now()
	if err != nil {
		return err
	}
	current := map[netip.AddrPort]bool{}
	var errs []error
	for _, at := range all {
		if at.Proto != "udp" {
			continue
		}
		addr := at.Addr
		if !addr.IsValid() || addr.IsUnspecified() {
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		to := netip.AddrPortFrom(addr, at.Port)
		err := knock(ctx, to, len(all))
		current[to] = err == nil || l.answered[to]
		if err != nil && current[to] && hasAddress(addr) {
			errs = append(errs, fmt.Errorf("the listener at %s no longer answers: %w", to, err))
		}
	}
	l.answered = current
	return errors.Join(errs...)
}

// knock asks a listener what CoreDNS answers by itself, whatever the Corefile says:
// a question of class CHAOS never reaches an upstream. UDP goes first; where a flood
// fills its buffer, TCP still shows that we live. The listeners share what is left
// of the time.
func knock(ctx context.Context, to netip.AddrPort, share int) error {
	q := new(dns.Msg).SetQuestion("version.bind.", dns.TypeTXT)
	q.Question[0].Qclass = dns.ClassCHAOS
	deadline, _ := ctx.Deadline()
	limit := time.Until(deadline) / time.Duration(2*max(share, 1))
	var errs []error
	for _, network := range []string{"udp", "tcp"} {
		c := dns.Client{Net: network, Timeout: limit}
		_, _, err := c.ExchangeContext(ctx, q, net.JoinHostPort(to.Addr().String(), strconv.Itoa(int(to.Port()))))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hasAddress reports whether an address is still this machine's. Where an interface
// lost it, its listener cannot be asked, and a restart would not help.
func hasAddress(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	own, err := policy.OwnAddrs()
	return err == nil && own[a.Unmap().WithZone("")]
}
