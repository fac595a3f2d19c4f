package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway"
)

// Sysctl is what one interface must be set to.
type Sysctl struct {
	Link  string
	Loose Loose
	RA    bool // goes on taking router advertisements when forwarding is switched on
}

// Loose says whether the interface's reverse-path filter becomes loose (2). A
// strict one drops the replies of a route's flows, because table main would not
// send to their sources by that interface.
type Loose string

// A tunnel of ours is always loose; an interface of somebody else only where its
// filter is strict, so that one without any filter stays so.
const (
	LooseAlways   Loose = "always"
	LooseIfStrict Loose = "if strict"
)

func (s Sysctl) text() string {
	line := fmt.Sprintf("net.ipv4.conf.%s.rp_filter = 2", s.Link)
	if s.Loose == LooseIfStrict {
		line += " if strict"
	}
	if s.RA {
		line += fmt.Sprintf("\nnet.ipv6.conf.%s.accept_ra = 2 if 1", s.Link)
	}
	return line
}

// sysctls are those of every interface that a wanted route leaves by.
func sysctls(cfg *gateway.Config, in Inputs, routes []Route) []Sysctl {
	var out []Sysctl
	add := func(link string, loose Loose) {
		if _, ok := in.link(link); ok && !slices.ContainsFunc(out, func(s Sysctl) bool { return s.Link == link }) {
			out = append(out, Sysctl{Link: link, Loose: loose, RA: loose == LooseIfStrict && !slices.Contains(cfg.LAN, link)})
		}
	}
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressWireGuard {
			add(r.Egress.Link, LooseAlways)
		}
	}
	for _, r := range append(slices.Clone(cfg.Routes), cfg.WANRoute()) {
		if r.Egress.Link != "" {
			add(r.Egress.Link, LooseIfStrict)
		}
	}
	for _, r := range routes {
		for _, link := range r.Links() {
			add(link, LooseIfStrict)
		}
	}
	slices.SortFunc(out, func(a, b Sysctl) int { return strings.Compare(a.Link, b.Link) })
	return out
}

const (
	forward4 = "net/ipv4/ip_forward"
	forward6 = "net/ipv6/conf/all/forwarding"
)

// sysctlStore writes sysctls, and remembers what they were in a file, before it
// changes the first one.
type sysctlStore struct {
	file  string
	root  string // where sysctls are files
	saved saved
}

// saved is the file. It counts only for the boot and the network namespace that it
// was written in.
type saved struct {
	Boot   string
	Values map[string]savedValue // by path below root
}

type savedValue struct{ Was, Set string }

func newSysctlStore(state string) *sysctlStore {
	return &sysctlStore{file: filepath.Join(state, "sysctl.json"), root: "/proc/sys"}
}

func (s *sysctlStore) load() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	if s.saved.Boot == boot {
		return nil
	}
	s.saved = saved{Boot: boot, Values: map[string]savedValue{}}
	data, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read saved sysctls: %w", err)
	}
	var old saved
	if err := json.Unmarshal(data, &old); err != nil {
		return fmt.Errorf("read saved sysctls: %s: %w", s.file, err)
	}
	if old.Boot == boot && old.Values != nil {
		s.saved = old
	}
	return nil
}

// bootID names this boot and network namespace.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("read network namespace: %w", err)
	}
	return strings.TrimSpace(string(id)) + " " + ns, nil
}

// get reads a sysctl; ok is false where the kernel does not have it (an interface
// that has gone, a kernel without IPv6).
func (s *sysctlStore) get(name string) (value string, ok bool, err error) {
	data, err := os.ReadFile(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("sysctl: %w", err)
	}
	return strings.TrimSpace(string(data)), true, nil
}

// set writes a sysctl if it differs, after its old value is safe on disk.
func (s *sysctlStore) set(name, value string) (changes []string, err error) {
	old, ok, err := s.get(name)
	if err != nil || !ok || old == value {
		return nil, err
	}
	if _, known := s.saved.Values[name]; !known {
		s.saved.Values[name] = savedValue{Was: old, Set: value}
		if err := s.save(); err != nil {
			delete(s.saved.Values, name)
			return nil, err
		}
	}
	if err := s.write(name, value); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("sysctl %s = %s, was %s", dotted(name), value, old)}, nil
}

func (s *sysctlStore) write(name, value string) error {
	if err := os.WriteFile(filepath.Join(s.root, name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %s = %s: %w", dotted(name), value, err)
	}
	return nil
}

// dotted is the name as sysctl(8) takes it, which wants a slash for a dot in an
// interface's name.
func dotted(name string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, name)
}

func (s *sysctlStore) save() error {
	data, err := json.MarshalIndent(s.saved, "", "  ")
	if err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	if err := renameio.WriteFile(s.file, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	return nil
}

func (s *sysctlStore) apply(want []Sysctl) (changes []string, err error) {
	if len(want) == 0 {
		return nil, nil
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	var errs []error
	for _, w := range want {
		for _, set := range []func(Sysctl) ([]string, error){s.loose, s.advertisements} {
			c, err := set(w)
			changes, errs = append(changes, c...), append(errs, err)
		}
	}
	return changes, errors.Join(errs...)
}

func (s *sysctlStore) loose(w Sysctl) ([]string, error) {
	name := "net/ipv4/conf/" + w.Link + "/rp_filter"
	if w.Loose == LooseIfStrict {
		own, _, err := s.get(name)
		if err != nil {
			return nil, err
		}
		all, _, err := s.get("net/ipv4/conf/all/rp_filter")
		if err != nil {
			return nil, err
		}
		if max(own, all) != "1" { // the kernel takes the higher one
			return nil, nil
		}
	}
	return s.set(name, "2")
}

// advertisements keeps an interface taking router advertisements that would stop
// to when forwarding is on (accept_ra is 1: only while not forwarding). Where a
// router forwarded before we came, nothing stops and nothing is changed.
func (s *sysctlStore) advertisements(w Sysctl) ([]string, error) {
	if !w.RA {
		return nil, nil
	}
	name := "net/ipv6/conf/" + w.Link + "/accept_ra"
	accept, ok, err := s.get(name)
	if err != nil || !ok || accept != "1" {
		return nil, err
	}
	forwards, _, err := s.get("net/ipv6/conf/" + w.Link + "/forwarding")
	if err != nil {
		return nil, err
	}
	if _, ours := s.saved.Values[forward6]; forwards != "0" && !ours {
		return nil, nil
	}
	return s.set(name, "2")
}

func (s *sysctlStore) forward() (changes []string, err error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	four, err4 := s.set(forward4, "1")
	six, err6 := s.set(forward6, "1")
	return append(four, six...), errors.Join(err4, err6)
}

// restore puts back what was changed in this boot and has not been changed by
// somebody else since. Forwarding goes first: without it the rest is of no use to
// anybody, and an interface that took advertisements again keeps its default.
func (s *sysctlStore) restore() (changes []string, err error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	var names []string
	for name := range s.saved.Values {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(restoreRank(a)+a, restoreRank(b)+b)
	})
	var errs []error
	for _, name := range names {
		v := s.saved.Values[name]
		now, ok, err := s.get(name)
		if err == nil && ok && now == v.Set && now != v.Was {
			if err = s.write(name, v.Was); err == nil {
				changes = append(changes, fmt.Sprintf("sysctl %s = %s, was %s", dotted(name), v.Was, now))
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return changes, err
	}
	s.saved = saved{}
	if err := os.Remove(s.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return changes, fmt.Errorf("remove saved sysctls: %w", err)
	}
	return changes, nil
}

func restoreRank(name string) string {
	if name == forward4 || name == forward6 {
		return "0"
	}
	return "1"
}
