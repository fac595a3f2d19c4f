package lists

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/index"
)

// lines returns a list of n lines.
func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// costOf returns what a text costs as a list.
func costOf(t *testing.T, text string) index.Cost {
	t.Helper()
	file := filepath.Join(t.TempDir(), "l")
	write(t, file, text)
	c, err := readList(gateway.List{Name: "l", File: file}, file, nil, nil, index.Cost{Memory: 1 << 40, Patterns: 1 << 40, Steps: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return c.cost
}

// Guarantee 8: fails safe.
// A list is used at its bounds and below them, and refused above; what was in use stays, the
// other lists go on, and the message says the list, what was counted, the bound and what to do.
func TestBudget(t *testing.T) {
	const names, wild, expr = "n%d.example", "cdn%d*.example.com", "regexp:^[0-9]{%d}.*c"
	for _, c := range []struct {
		name, format string
		bound        func(*index.Cost) // by one less than the list needs
		want         string
	}{
		{"memory", names, func(c *index.Cost) { c.Memory-- }, "list l: FILE: it costs too much: its first 100 entries take about"},
		{"prefixes", "192.0.2.%d", func(c *index.Cost) { c.Memory-- }, "its first 100 entries take about"},
		{"wildcards", wild, func(c *index.Cost) { c.Patterns-- }, "the first 100 of its keywords, regular expressions and names with a * inside a label take about"},
		{"keywords", "keyword:k%d", func(c *index.Cost) { c.Patterns-- }, "want whole names, *.name for the names below one"},
		{"steps", expr, func(c *index.Cost) { c.Steps-- }, "steps for every query, above the bound of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := []gateway.List{{Name: "l", File: filepath.Join(dir, "l")}, {Name: "other", File: filepath.Join(dir, "other")}}
			write(t, cfg[0].File, "before.example\n")
			write(t, cfg[1].File, "other.example\n")
			text := lines(100, c.format)
			need := costOf(t, text)
			for _, all := range []bool{false, true} {
				fits := Budget{List: need, All: need.Add(costOf(t, "other.example\n"))}
				tight := fits
				if all {
					c.bound(&tight.All)
				} else {
					c.bound(&tight.List)
				}
				l, errs := Open(cfg, Options{Budget: &tight})
				wantErrors(t, errs)
				write(t, cfg[0].File, text)
				_, errs = l.Reload()
				if len(errs) != 1 || !errors.Is(errs[0], ErrBudget) || !strings.Contains(errs[0].Error(), strings.ReplaceAll(c.want, "FILE", cfg[0].File)) {
					t.Fatalf("above the bound (of all: %v): %v", all, errs)
				}
				wantHeld(t, l, "before.example", "l")
				wantHeld(t, l, "other.example", "other")
				if all && strings.Contains(c.want, "rules") { // there is room when another list goes
					if _, errs = l.SetLists(cfg[:1]); len(errs) > 0 {
						t.Errorf("without the other list: %v", errs)
					}
				}
				l, errs = Open(cfg, Options{Budget: &fits})
				wantErrors(t, errs)
				wantHeld(t, l, "before.example", "")
				write(t, cfg[0].File, "before.example\n")
			}
		})
	}
}

// The lists that brought a box down are refused by the bounds as they are, after a small part
// of them was read; a real one with many expressions is not.
func TestDefaultBudget(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		fits bool
	}{
		"wildcards":          {lines(136_000, "cdn%d*.example.com"), false},
		"expressions":        {lines(900, "regexp:^[a-z]+[0-9]{%d}"), false},
		"repetitions":        {lines(1_000, "regexp:abc[0-9x]{900}%d"), false},
		"keywords":           {lines(100_000, "keyword:k%d"), false},
		"some wildcards":     {lines(2_000, "cdn%d*.example.com"), true},
		"names":              {lines(300_000, "n%d.example"), true},
		"expressions of ads": {lines(60, "regexp:^ad(s?[0-9]*|system%d)[_.-]([^.]+\\.){1,}"), true},
	} {
		file := filepath.Join(t.TempDir(), "l")
		write(t, file, c.text)
		if _, err := Check(gateway.List{Name: "l", File: file}); (err == nil) != c.fits || err != nil && !errors.Is(err, ErrBudget) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMachineMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meminfo")
	if got := machineMemory(file); got != 1<<30 {
		t.Errorf("unknown: %d", got)
	}
	write(t, file, "MemFree:  1 kB\nMemTotal:  524288 kB\n")
	if got := machineMemory(file); got != 512<<20 {
		t.Errorf("of the machine: %d", got)
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20))
	if got := machineMemory(file); got != 64<<20 {
		t.Errorf("of the process: %d", got)
	}
}
