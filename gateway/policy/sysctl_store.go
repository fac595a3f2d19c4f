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

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

const (
	forward4 = "net/ipv4/ip_forward"
	forward6 = "net/ipv6/conf/all/forwarding"
)

// sysctlStore writes sysctls, and saves their old values in a file before it changes the
// first one. Where the file cannot be written it changes them all the same: a gateway that
// does not forward is worse than one that cannot be undone after a crash.
type sysctlStore struct {
	file     string
	root     string // where sysctls are files
	saved    saved
	unsaved  bool  // the file lacks some of what saved holds
	replaced error // something else was in the file's place; for apply to report
}

// saved is the content of the file. It is valid only in the boot and the network
// namespace that it was written in.
type saved struct {
	Boot   string
	Values map[string]savedValue // by path below root
}

type savedValue struct{ Was, Set string }

func newSysctlStore(state string) *sysctlStore {
	return &sysctlStore{file: filepath.Join(state, "sysctl.json"), root: "/proc/sys"}
}

// load reads the file once. A damaged file is treated as missing: a power failure may have
// truncated it, and its values ended with that boot. What cannot be read at all, such as a
// folder of that name, is moved out of the way.
func (s *sysctlStore) load() error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	if s.saved.Boot == boot {
		return nil
	}
	var old saved
	data, err := statefile.ReadFile(s.file)
	if json.Unmarshal(data, &old) != nil || old.Boot != boot || old.Values == nil {
		old = saved{Boot: boot, Values: map[string]savedValue{}}
	}
	s.saved = old
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if bad, err2 := statefile.SetAside(s.file); err2 == nil { // else saving fails and reports it
			s.replaced = fmt.Errorf("read saved sysctls: %w: moved to %s", err, bad)
		}
	}
	return nil
}

// bootID identifies this boot and network namespace.
func bootID() (string, error) {
	id, err := statefile.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("read network namespace: %w", err)
	}
	return strings.TrimSpace(string(id)) + " " + ns, nil
}

// get reads a sysctl; ok is false where the kernel does not have it: the interface is
// gone, or the kernel has no IPv6.
func (s *sysctlStore) get(name string) (value string, ok bool, err error) {
	data, err := statefile.ReadFile(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("sysctl: %w", err)
	}
	return strings.TrimSpace(string(data)), true, nil
}

// setting is the desired value of a sysctl.
type setting struct{ name, value string }

// set writes what differs, after the old values are in the file: those that a sysctl had
// when it was first wanted, also where it was right. Another program may change it before
// our first change, and that is not what it had before us. If they cannot be saved it
// returns an error, each time until they are, and writes the sysctls all the same.
func (s *sysctlStore) set(settings ...setting) (changes []string, err error) {
	var errs []error
	was := map[setting]string{}
	for _, c := range settings {
		old, ok, err := s.get(c.name)
		if errs = append(errs, err); ok {
			was[c] = old
		}
	}
	errs = append(errs, s.saveOld(was))
	for _, c := range settings {
		old, exists := was[c]
		if !exists || old == c.value {
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

// saveOld stores the values that sysctls had when they were first wanted, and the last ones
// that were.
func (s *sysctlStore) saveOld(was map[setting]string) error {
	for c, old := range was {
		v, known := s.saved.Values[c.name]
		if !known {
			v.Was = old
		}
		if !known || v.Set != c.value {
			v.Set = c.value
			s.saved.Values[c.name], s.unsaved = v, true
		}
	}
	if !s.unsaved {
		return nil
	}
	if err := s.save(); err != nil {
		return fmt.Errorf("%w: `nameroute down` of another process cannot restore them", err)
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

// dotted returns the name as sysctl(8) takes it, with a slash for a dot in an interface's
// name.
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

// save replaces the file. The content is worthless after a power failure, so nothing waits
// for the disk.
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
	errs := []error{s.replaced}
	for _, w := range want {
		loose, err1 := s.loose(w)
		ra, err2 := s.advertisements(w)
		closed, err3 := s.closed(w)
		settings, errs = slices.Concat(settings, loose, ra, closed), append(errs, err1, err2, err3)
	}
	changes, err = s.set(settings...)
	return changes, errors.Join(append(errs, err)...)
}

// forward enables forwarding for the box, and for those of the links on which it is
// disabled. IPv6 has no such switch: an interface's own only decides whether it accepts
// router advertisements.
func (s *sysctlStore) forward(links []string) (changes []string, err error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	changes, err = s.set(setting{forward4, "1"}, setting{forward6, "1"})
	var own []setting // after `all`, which sets every link's
	for _, link := range links {
		own = append(own, setting{"net/ipv4/conf/" + link + "/forwarding", "1"})
	}
	more, err2 := s.set(own...)
	return append(changes, more...), errors.Join(err, err2)
}

// restore writes back the old values of this boot, except where another program has
// changed them since. Forwarding comes first: an interface that accepts advertisements
// again then keeps its default.
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
