package updater

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/lists"
)

func TestShrinkingIsRefused(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(100, "example")))
	b.update(Updated, "")
	s.answer(file(list(59, "example")))
	b.update(Refused, "it has 59 entries where there were 100: it shrinks by 41%, above max_shrink 40%")
	b.holds(list(100, "example"))
	b.clean()
	s.answer(file(list(60, "example")))
	b.update(Updated, "")
	b.holds(list(60, "example"))

	// With --force it may.
	s.answer(file(list(5, "example")))
	b.update(Refused, "max_shrink")
	b.updateWith(Flags{Force: true}, Updated, "")
	b.holds(list(5, "example"))
}

func TestMaxShrinkOf100Percent(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "max_shrink: 100%", "min_entries: 2")
	s.answer(file(list(100, "example")))
	b.update(Updated, "")
	s.answer(file(list(2, "example")))
	b.update(Updated, "")
	s.answer(file(list(1, "example")))
	b.update(Refused, "it has 1 entry, below min_entries 2")
	b.holds(list(2, "example"))
}

// The list of another URL may be smaller.
func TestListOfAnotherURLMayBeSmaller(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL+"/a")
	s.answer(file(list(100, "example")))
	b.update(Updated, "")
	b.SetConfig(configOf(t, s.URL+"/b"))
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	if q := s.requests(); q[0].Header.Get("If-None-Match") != "" || q[0].URL.Path != "/b" {
		t.Errorf("asked for %s if %q", q[0].URL, q[0].Header.Get("If-None-Match"))
	}
	b.holds(list(3, "example"))
}

func TestUselessContentIsRefused(t *testing.T) {
	for text, why := range map[string]string{
		"":                          "it has 0 entries, below min_entries 1",
		"# nothing yet\n":           "it has 0 entries, below min_entries 1",
		"\x00\x01\x02\n":            "no entry in 1 lines",
		"no such thing here\n":      "no entry in 1 lines",
		"\ufeff \n<!doctype HTML>":  "it is a web page, not a list",
		"<HTML lang=en>\na.example": "it is a web page, not a list",
	} {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			s := newSite(t)
			b := newBox(t, s.URL)
			serve := file(text + " ")
			s.answer(serve)
			b.update(Refused, why)
			b.holds("")
			b.clean()
		})
	}
}

// A list whose format is forced is read as that.
func TestContentMustHaveTheFormat(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "format: hosts")
	s.answer(file("0.0.0.0 a.example\n0.0.0.0 b.example\n"))
	if r := b.update(Updated, ""); r.Report.Format != "hosts" || r.Report.Full != 2 {
		t.Errorf("report %v", r.Report)
	}
}

// A part of a real file, which its publisher compresses or not.
func TestSelectedPartIsChecked(t *testing.T) {
	dir := os.Getenv("NAMEROUTE_LISTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "lists")
	}
	data, err := os.ReadFile(filepath.Join(dir, "geosite.dat"))
	if err != nil {
		t.Skipf("no real list: %v", err)
	}
	s := newSite(t)
	b := newBox(t, s.URL+"/geosite.dat", "select: netflix", "min_entries: 10")
	s.answer(file(string(data)))
	r := b.update(Updated, "")
	if r.Report.Format != "geosite" || r.Report.Suffix < 10 || r.Report.Entries() > 100 {
		t.Errorf("report %v", r.Report)
	}
	full, err := lists.Check(b.listLocked(b.config.Sources[0]))
	if err != nil || full.Entries() != r.Report.Entries() {
		t.Errorf("the gateway reads %v (%v), the updater %v", full, err, r.Report)
	}
	b.SetConfig(configOf(t, s.URL+"/geosite.dat", "select: no-such-category"))
	b.updateWith(Flags{Force: true}, Failed, "unknown")
}
