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
)

const (
	forward4 = "net/ipv4/ip_forward"
	forward6 = "net/ipv6/conf/all/forwarding"
)

// sysctlStore writes sysctls, and remembers what they were in a file, before it
// changes the first one. Where the disk does not take that it goes on all the same: a
// gateway that does not forward is worse than one that cannot be undone after a crash.
type sysctlStore struct {
	file    string
	root    string // where sysctls are files
	saved   saved
	unsaved bool  // the file lacks what saved holds
	aside   error // that something that was no file of ours had to make room; for apply to tell
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

// load reads the file once. One that means nothing is as none: a power failure may
// have cut it, and what it held ended with that boot. What cannot be read at all, a
// folder of that name, is set aside.
func (s *sysctlStore) load() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	if s.saved.Boot == boot {
		return nil
	}
	var old saved
	data, err := os.ReadFile(s.file)
	if json.Unmarshal(data, &old) != nil || old.Boot != boot || old.Values == nil {
		old = saved{Boot: boot, Values: map[string]savedValue{}}
	}
	s.saved = old
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if os.Rename(s.file, s.file+".bad") == nil { // else saving will fail, and say why
			s.aside = fmt.Errorf("read saved sysctls: %w: it is set aside as %s.bad", err, s.file)
		}
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

// setting is a value that a sysctl is to have.
type setting struct{ name, value string }

// set writes what differs, after the old values are safe in the file. That they could
// not be made safe is an error, each time until they are, and stops nothing.
func (s *sysctlStore) set(settings ...setting) (changes []string, err error) {
	var errs []error
	was := map[setting]string{}
	for _, c := range settings {
		old, ok, err := s.get(c.name)
		if errs = append(errs, err); ok && old != c.value {
			was[c] = old
		}
	}
	errs = append(errs, s.note(was))
	for _, c := range settings {
		old, differs := was[c]
		if !differs {
			continue
		}
		if err := s.write(c.name, c.value); err != nil {
			errs = append(errs, err)
			continue
		}
		changes = append(changes, fmt.Sprintf("sysctl %s = %s, was %s", dotted(c.name), c.value, old))
	}
	return changes, errors.Join(errs...)
}

// note stores what sysctls were before our first change of them.
func (s *sysctlStore) note(was map[setting]string) error {
	for c, old := range was {
		if _, known := s.saved.Values[c.name]; !known {
			s.saved.Values[c.name] = savedValue{Was: old, Set: c.value}
			s.unsaved = true
		}
	}
	if !s.unsaved {
		return nil
	}
	if err := s.save(); err != nil {
		return fmt.Errorf("%w: `nameroute down` of another process could not put them back", err)
	}
	s.unsaved = false
	return nil
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

// save replaces the file. It need not outlive a power failure, so nothing waits for the disk.
func (s *sysctlStore) save() error {
	data, err := json.MarshalIndent(s.saved, "", "  ")
	if err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o755); err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	next := s.file + ".new"
	if err := os.WriteFile(next, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save sysctls: %w", err)
	}
	if err := os.Rename(next, s.file); err != nil {
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
	var settings []setting
	errs := []error{s.aside}
	for _, w := range want {
		loose, err1 := s.loose(w)
		ra, err2 := s.advertisements(w)
		settings, errs = append(append(settings, loose...), ra...), append(errs, err1, err2)
	}
	changes, err = s.set(settings...)
	return changes, errors.Join(append(errs, err)...)
}

func (s *sysctlStore) loose(w Sysctl) ([]setting, error) {
	name := "net/ipv4/conf/" + w.Link + "/rp_filter"
	all, _, err := s.get("net/ipv4/conf/all/rp_filter")
	if err != nil {
		return nil, err
	}
	if w.Loose == LooseIfStrict {
		own, _, err := s.get(name)
		if err != nil || max(own, all) != "1" { // the kernel takes the higher one
			return nil, err
		}
	} else if all == "0" {
		return []setting{{name, "0"}}, nil
	}
	return []setting{{name, "2"}}, nil
}

// advertisements keeps an interface taking router advertisements that would stop
// to when forwarding is on (accept_ra is 1: only while not forwarding). Where a
// router forwarded before we came, nothing stops and nothing is changed.
func (s *sysctlStore) advertisements(w Sysctl) ([]setting, error) {
	if !w.RA {
		return nil, nil
	}
	name := "net/ipv6/conf/" + w.Link + "/accept_ra"
	accept, ok, err := s.get(name)
	if err != nil || !ok || accept != "1" {
		return nil, err
	}
	forwards, _, err := s.get("net/ipv6/conf/" + w.Link + "/forwarding")
	if _, ours := s.saved.Values[forward6]; err != nil || forwards != "0" && !ours {
		return nil, err
	}
	return []setting{{name, "2"}}, nil
}

// forward switches forwarding on, and where somebody has switched it off for one of
// the links alone, there too. IPv6 has no such switch: an interface's own says only
// whether it takes router advertisements.
func (s *sysctlStore) forward(links []string) (changes []string, err error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	changes, err = s.set(setting{forward4, "1"}, setting{forward6, "1"})
	var own []setting // after all's, which sets every link's
	for _, link := range links {
		own = append(own, setting{"net/ipv4/conf/" + link + "/forwarding", "1"})
	}
	more, err2 := s.set(own...)
	return append(changes, more...), errors.Join(err, err2)
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
	s.saved, s.unsaved = saved{}, false
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
