package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/xtls/xray-core/common/strmatcher"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// result is what was measured of one matcher with one list.
type result struct {
	Lines     int           // rules on names, as the other matchers read them
	Bytes     int64         // held afterwards, on the heap
	Peak      int64         // resident memory that building took at most
	Build     time.Duration // processor time
	Hit, Miss time.Duration // of one lookup
	Restart   time.Duration // until an unchanged list answers again; 0: not supported
	Wrong     int           // answers that were not expected
}

// matcher is what is measured. own means that it reads the published file.
type matcher struct {
	name  string
	own   bool
	build func(file string) (match func(name string) bool, err error)
}

var matchers = []matcher{
	{"nameroute", true, buildIndex},
	{"Go map", false, buildMap},
	{"Xray MPH", false, buildXray},
}

const library = "l"

func buildIndex(file string) (func(string) bool, error) { return openLibrary(file, "") }

func openLibrary(file, cache string) (func(string) bool, error) {
	l, errs := lists.Open([]gateway.List{{Name: library, File: file}}, lists.Options{Cache: cache})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ix := l.Index()
	s, err := ix.Selection(library)
	return func(name string) bool { return ix.Match(name).Listed(s) }, err
}

// buildMap builds a Go map of strings, in which the labels of a name are walked.
func buildMap(file string) (func(string) bool, error) {
	m := map[string]bool{} // true: names below it too
	err := eachName(file, func(name string, below bool) error {
		m[name] = m[name] || below
		return nil
	})
	return func(name string) bool {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		_, listed := m[name]
		for found := true; !listed && found; {
			if _, name, found = strings.Cut(name, "."); found {
				listed = m[name]
			}
		}
		return listed
	}, err
}

func buildXray(file string) (func(string) bool, error) {
	g := strmatcher.NewMphMatcherGroup()
	err := eachName(file, func(name string, below bool) error {
		kind := strmatcher.Full
		if below {
			kind = strmatcher.Domain
		}
		_, err := g.AddPattern(name, kind)
		return err
	})
	if err == nil {
		g.Build()
	}
	return func(name string) bool {
		return len(g.Match(strings.ToLower(strings.TrimSuffix(name, ".")))) > 0
	}, err
}

// eachName calls add for the names of a plain list. below means that the names below it are
// on the list, too. Keywords and expressions, which the other matchers do not support, are
// skipped.
func eachName(file string, add func(name string, below bool) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); ; {
		if !s.Scan() {
			return s.Err()
		}
		kind, name, found := strings.Cut(s.Text(), ":")
		switch {
		case !found:
			kind, name = "domain", kind
		case kind != "domain" && kind != "full":
			continue
		}
		if strings.ContainsAny(name, "/*") {
			continue
		}
		if err := add(strings.ToLower(name), kind == "domain"); err != nil {
			return err
		}
	}
}

// measure builds one matcher over a file and queries it for names of a plain list.
func measure(name, file, plain string) (r result, err error) {
	hits, misses, err := queries(plain, &r.Lines)
	if err != nil {
		return r, err
	}
	for _, m := range matchers {
		if m.name != name {
			continue
		}
		resident, before, cpu := resetPeak(), heap(), processor()
		match, err := m.build(file)
		if err != nil {
			return r, err
		}
		r.Build = processor() - cpu
		r.Peak = status("VmHWM") - resident
		r.Bytes = heap() - before
		r.Hit = r.lookups(match, hits, true)
		r.Miss = r.lookups(match, misses, false)
		if m.own {
			r.Restart, err = restart(file)
		}
		return r, err
	}
	return r, fmt.Errorf("no such matcher")
}

// queries returns names as clients query them: below listed names, and misses. It counts the
// list in lines.
func queries(plain string, lines *int) (hits, misses []string, err error) {
	const most = 1 << 16
	r := rand.New(rand.NewPCG(3, 4))
	err = eachName(plain, func(name string, below bool) error {
		*lines++
		at := len(hits)
		if at == most { // each name is as likely as any other
			if at = r.IntN(*lines); at >= most {
				return nil
			}
		} else {
			hits, misses = append(hits, ""), append(misses, "")
		}
		hits[at] = strings.Clone(name) + "."
		if below {
			hits[at] = "www." + hits[at]
		}
		misses[at] = "www.z--" + strings.Replace(name, ".", "-z.z-", 1) + "."
		return nil
	})
	r.Shuffle(len(hits), func(i, k int) { hits[i], hits[k], misses[i], misses[k] = hits[k], hits[i], misses[k], misses[i] })
	return hits, misses, err
}

// lookups returns the processor time of one lookup in the best of five rounds.
func (r *result) lookups(match func(string) bool, names []string, want bool) time.Duration {
	var best time.Duration
	for round := range 5 {
		cpu := processor()
		n := 0
		for n < 1<<20 {
			for _, name := range names {
				if match(name) != want && round == 0 && n < len(names) {
					r.Wrong++
				}
				n++
			}
		}
		if took := (processor() - cpu) / time.Duration(n); round == 0 || took < best {
			best = took
		}
	}
	return best
}

// restart returns how long it takes until an unchanged list answers again.
func restart(file string) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "restart")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	time.Sleep(4 * time.Second) // the times of the file can be relied on then
	if _, err := openLibrary(file, dir); err != nil {
		return 0, err
	}
	var best time.Duration
	for round := range 3 {
		runtime.GC()
		begin := time.Now()
		if _, err := openLibrary(file, dir); err != nil {
			return 0, err
		}
		if took := time.Since(begin); round == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// heap returns what the program holds after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// processor returns the processor time of this process so far, which other programs do not
// influence.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
