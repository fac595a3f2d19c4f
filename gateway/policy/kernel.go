package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Kernel reads and writes our part of the kernel's policy routing: policy rules and
// kernel routes with protocol number 110, and the sysctls whose old values it keeps
// below its state directory. It may be used by several goroutines.
type Kernel struct {
	mu sync.Mutex
	*reader
	sysctls *sysctlStore
}

// Open returns a Kernel that keeps the old values of sysctls in the directory state.
func Open(state string) (*Kernel, error) {
	r, err := newReader()
	if err != nil {
		return nil, err
	}
	return &Kernel{reader: r, sysctls: newSysctlStore(state)}, nil
}

// Close closes the netlink sockets. Everything in the kernel stays.
func (k *Kernel) Close() { k.close() }

// Apply makes the changes that lead from one state to another, and returns them in
// ip(8)'s words. It adds what is missing before it deletes anything, unreachable
// defaults first, so that no packet leaves by another egress in between. An error does
// not stop the other changes; those are made when it is applied again.
//
// have is the state that Read returned. Where another program has changed the kernel
// since then a change may fail; the kernel announces that program's change, and the
// next Read knows it.
func (k *Kernel) Apply(have, want State) (changes []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
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

// Remove deletes all policy rules and kernel routes of ours and restores the sysctls.
func (k *Kernel) Remove() (changes []string, err error) {
	have, err := k.readState()
	if err != nil {
		return nil, err
	}
	changes, err = k.Apply(have, State{})
	k.mu.Lock()
	defer k.mu.Unlock()
	restored, err2 := k.sysctls.restore()
	return append(changes, restored...), errors.Join(err, err2)
}

func (k *Kernel) readState() (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	names, err := k.linkNames()
	if err != nil {
		return State{}, err
	}
	return k.state(names)
}

// Forward enables forwarding of both families, and of IPv4 for each of these links.
// It is the last step, when the kill switch is in place. A link that does not exist is
// skipped.
func (k *Kernel) Forward(links ...string) (changes []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sysctls.forward(links)
}

// change is one step of Apply.
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
	var throws, backstops, rules, routes, obsolete []change
	for _, r := range want.KernelRoutes {
		switch {
		case haveRoutes[routeText(r)]:
		case r.Throw:
			throws = append(throws, addKernelRoute(r, keys[r.key()]))
		case r.Unreachable:
			backstops = append(backstops, addKernelRoute(r, keys[r.key()]))
		default:
			routes = append(routes, addKernelRoute(r, keys[r.key()]))
		}
		delete(keys, r.key())
	}
	// The last rule comes first: it stops what no table takes.
	for _, r := range slices.Backward(want.Rules) {
		if !haveRules[ruleText(r)] {
			rules = append(rules, change{"add " + ruleText(r), func(k *Kernel) error { return k.h.RuleAdd(r.netlink()) }})
		}
	}
	for _, r := range have.Rules {
		if !wantRules[ruleText(r)] {
			obsolete = append(obsolete, change{"del " + ruleText(r), func(k *Kernel) error { return k.h.RuleDel(r.netlink()) }})
		}
	}
	for _, r := range have.KernelRoutes {
		// One with the key of a wanted route was replaced by that.
		if keys[r.key()] && !wantRoutes[routeText(r)] {
			obsolete = append(obsolete, change{"del " + routeText(r), func(*Kernel) error { return send(r.request(unix.RTM_DELROUTE, 0)) }})
		}
	}
	return slices.Concat(backstops, throws, rules, routes, obsolete)
}

// addKernelRoute replaces only one of ours: a kernel route of another program with the
// same key is never overwritten, the kernel refuses that with "file exists".
func addKernelRoute(r KernelRoute, replace bool) change {
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
