package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// apply brings everything to the wanted state.
func (l *Loop) apply(cfg *gateway.Config, ready bool) {
	in, err := l.kernel.Look(cfg)
	if err != nil {
		l.problem("kernel", err)
		return
	}
	l.choose(cfg)
	early, err := l.closeDoors(cfg, in)
	if err != nil {
		l.problem("closed door", err)
		return // without it nothing that is more open is made
	}
	l.problem("closed door", nil)
	l.removeTunnels(cfg)
	for _, t := range l.tunnels {
		t.apply(cfg)
	}
	if in, err = l.kernel.Look(cfg); err != nil { // the tunnels have changed links and addresses
		l.problem("kernel", err)
		return
	}
	l.problem("kernel", nil)
	want := policy.Desired(cfg, l.inputs(in))
	have, err := l.kernel.Read()
	if err != nil {
		l.problem("kernel", err)
		return
	}
	l.problem("policy rules", mainRule(have))
	late, err := l.kernel.Apply(want)
	l.changed(late)
	l.problem("policy routing", err)
	l.storm.note(l.looked, append(early, late...))
	l.problem("conntrack", l.forgetFlows(have, want))
	l.followed(cfg, want)
	if ready {
		l.forward(cfg, want)
	}
	l.remember(cfg, want)
}

// mainRule is an error where somebody has flushed the kernel's own rule too. It is not
// ours to put back: some boxes have others in its place, or none on purpose.
func mainRule(have policy.State) error {
	if len(have.NoMain) == 0 {
		return nil
	}
	var errs []error
	for _, f := range have.NoMain {
		errs = append(errs, fmt.Errorf("nothing leads to table main of IPv%d, so that what takes no route of ours is not routed: ip -%d rule add lookup main pref 32766", f, f))
	}
	return errors.Join(errs...)
}

// choose makes the list of tunnels that of the configuration. Those of routes that
// are gone are closed here; their interfaces are removed when the doors are closed.
func (l *Loop) choose(cfg *gateway.Config) {
	wanted := map[string]bool{}
	for _, r := range cfg.Routes {
		if r.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		wanted[r.Name] = true
		t := l.tunnels[r.Name]
		if t != nil && (t.route.Egress.Link != r.Egress.Link || t.route.MTU != r.MTU) {
			t.close() // opened again with the new ones; removeTunnels takes the old link away
			t = nil
		}
		if t == nil {
			t = newTunnel(l, r)
			l.tunnels[r.Name] = t
		}
		t.setRoute(r)
	}
	for name, t := range l.tunnels {
		if !wanted[name] {
			t.close()
			delete(l.tunnels, name)
		}
	}
}

// closeDoors sets up rules and backstops, and takes nothing away: defaults that are
// there, of the last run too, lead into interfaces that are about to be taken over
// or put right.
func (l *Loop) closeDoors(cfg *gateway.Config, in policy.Inputs) (changes []string, err error) {
	want := policy.Desired(cfg, l.inputs(in))
	have, err := l.kernel.Read()
	if err != nil {
		return nil, err
	}
	changes, err = l.kernel.Apply(want.With(have))
	l.changed(changes)
	if err == nil {
		return changes, nil
	}
	// What else failed is tried again below, and reported there.
	if closed, err2 := l.kernel.Closed(want); err2 != nil || !closed {
		return changes, errors.Join(err, err2)
	}
	return changes, nil
}

// inputs adds what the tunnels know.
func (l *Loop) inputs(in policy.Inputs) policy.Inputs {
	in.Closed, in.Families = map[string]string{}, map[string][]gateway.Family{}
	for name, t := range l.tunnels {
		if why := t.closed(); why != "" {
			in.Closed[name] = why
		}
		in.Families[name] = t.families()
	}
	return in
}

// followed notices that the WAN is another one than before.
func (l *Loop) followed(cfg *gateway.Config, want policy.State) {
	wan := policy.State{}
	for _, r := range want.Routes {
		if r.Table == cfg.WANRoute().Table && !r.Unreachable {
			wan.Routes = append(wan.Routes, r)
		}
	}
	if text := wan.String(); text != l.wan {
		l.wan = text
		for _, t := range l.tunnels {
			t.wanChanged()
		}
	}
}

// forward switches forwarding on where there is anybody to forward for, and a way
// out of the box: an interface that is to become the WAN by a router advertisement
// would take none any more, and until then nobody knows which one that is.
func (l *Loop) forward(cfg *gateway.Config, want policy.State) {
	out := slices.ContainsFunc(cfg.AllRoutes(), func(r gateway.Route) bool {
		_, waits := want.Waiting[r.Name]
		return r.Egress.Kind != gateway.EgressWireGuard && !waits
	})
	if !out || !slices.ContainsFunc(cfg.LAN, func(link string) bool { return link != "lo" }) {
		return
	}
	links := slices.Clone(cfg.LAN)
	for _, s := range want.Sysctls {
		links = append(links, s.Link)
	}
	changes, err := l.kernel.Forward(links...)
	l.changed(changes)
	l.problem("forwarding", err)
}

// storm notices changes that do not last: somebody else undoes them at once, or the
// kernel keeps them in another form.
type storm struct {
	text  string
	times int
	since time.Time
}

// A change that was made 20 times in a row, every 100 ms or faster, slows the loop down.
const (
	stormTimes = 20
	stormPace  = 100 * time.Millisecond
)

func (s *storm) note(now time.Time, changes []string) {
	slices.Sort(changes)
	text := strings.Join(slices.Compact(changes), "\n") // undone between two steps of an apply, it is made twice
	if text != s.text || text == "" {
		*s = storm{text: text, since: now}
	}
	s.times++
}

func (s *storm) blows(now time.Time) bool {
	return s.text != "" && s.times >= stormTimes && now.Sub(s.since) < time.Duration(s.times)*stormPace
}
