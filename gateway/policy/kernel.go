package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel reads and writes what is ours of the kernel's policy routing: rules and
// routes with protocol number 110, and the sysctls that it remembers under its
// state directory. It is safe for use by several goroutines.
type Kernel struct {
	mu sync.Mutex
	*reader
	sysctls *sysctlStore
}

// Open makes a Kernel that keeps the sysctls' old values in the directory state.
func Open(state string) (*Kernel, error) {
	r, err := newReader()
	if err != nil {
		return nil, err
	}
	return &Kernel{reader: r, sysctls: newSysctlStore(state)}, nil
}

// Close ends the use of the kernel and leaves all that is there in place.
func (k *Kernel) Close() { k.close() }

// Read tells which rules and routes of ours the kernel has.
func (k *Kernel) Read() (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read()
}

// Apply brings the kernel to the wanted state by the difference: what is missing
// is added before what is too much is deleted, backstops first, so that no door
// stands open in between. It returns the changes made, in ip(8)'s words. An error
// does not stop the others; applying again tries what is left.
func (k *Kernel) Apply(want State) (changes []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	have, err := k.read()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, c := range difference(have, want.of(k.families)) {
		if err := c.do(k); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.text, err))
			continue
		}
		changes = append(changes, c.text)
	}
	set, err := k.sysctls.apply(want.Sysctls)
	return append(changes, set...), errors.Join(append(errs, err)...)
}

// Closed reports whether every rule and backstop of the wanted state stands.
func (k *Kernel) Closed(want State) (bool, error) {
	have, err := k.Read()
	if err != nil {
		return false, err
	}
	doors := want.Doors().of(k.families)
	return doors.With(have).Doors().String() == have.Doors().String(), nil
}

// Remove deletes every rule and route of ours and puts the sysctls back.
func (k *Kernel) Remove() (changes []string, err error) {
	changes, err = k.Apply(State{})
	k.mu.Lock()
	defer k.mu.Unlock()
	restored, err2 := k.sysctls.restore()
	return append(changes, restored...), errors.Join(err, err2)
}

// Forward switches forwarding of both families on, for these links above all. It
// comes last, when the closed door stands. A link that is not there is left out.
func (k *Kernel) Forward(links ...string) (changes []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sysctls.forward(links)
}

// change is one step of an Apply.
type change struct {
	text string
	do   func(*Kernel) error
}

func difference(have, want State) []change {
	haveRules, wantRules := texts(have.Rules, ruleText), texts(want.Rules, ruleText)
	haveRoutes, wantRoutes := texts(have.KernelRoutes, routeText), texts(want.KernelRoutes, routeText)
	keys := map[key]bool{}
	for _, r := range have.KernelRoutes {
		keys[r.key()] = true
	}
	var backstops, rules, routes, gone []change
	for _, r := range want.KernelRoutes {
		switch {
		case haveRoutes[routeText(r)]:
		case r.Unreachable:
			backstops = append(backstops, addRoute(r, keys[r.key()]))
		default:
			routes = append(routes, addRoute(r, keys[r.key()]))
		}
		delete(keys, r.key())
	}
	for _, r := range want.Rules {
		if !haveRules[ruleText(r)] {
			rules = append(rules, change{"add " + ruleText(r), func(k *Kernel) error { return k.h.RuleAdd(r.netlink()) }})
		}
	}
	for _, r := range have.Rules {
		if !wantRules[ruleText(r)] {
			gone = append(gone, change{"del " + ruleText(r), func(k *Kernel) error { return k.h.RuleDel(r.netlink()) }})
		}
	}
	for _, r := range have.KernelRoutes {
		// What has a wanted route's key was replaced by it.
		if keys[r.key()] && !wantRoutes[routeText(r)] {
			gone = append(gone, change{"del " + routeText(r), func(*Kernel) error { return send(r.request(unix.RTM_DELROUTE, 0)) }})
		}
	}
	return append(append(append(backstops, rules...), routes...), gone...)
}

// addRoute replaces only where the old one is ours: a foreign route with the same
// key is never overwritten, the kernel then says "file exists".
func addRoute(r KernelRoute, replace bool) change {
	flags, verb := unix.NLM_F_CREATE|unix.NLM_F_EXCL, "add "
	if replace {
		flags, verb = unix.NLM_F_CREATE|unix.NLM_F_REPLACE, "replace "
	}
	return change{verb + routeText(r), func(*Kernel) error { return send(r.request(unix.RTM_NEWROUTE, flags)) }}
}

func send(req *nl.NetlinkRequest) error {
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func ruleText(r Rule) string {
	return fmt.Sprintf("-%d rule %s", r.Family, strings.Replace(r.text(), "\t", " ", 1))
}

func routeText(r KernelRoute) string {
	return fmt.Sprintf("-%d route %s table %d", r.Family, r.text(), r.Table)
}

func texts[T any](list []T, text func(T) string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, e := range list {
		m[text(e)] = true
	}
	return m
}
