package updater

import (
	"fmt"
	"testing"
)

func TestDryRunChangesNothing(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file("a.example\nb.example\nc.example\n"))
	r := b.updateWith(Flags{DryRun: true, Diff: true}, Updated, "")
	b.holds("")
	b.clean()
	if fmt.Sprint(r.Added, r.Removed) != "[a.example b.example c.example] []" {
		t.Errorf("came %v, went %v", r.Added, r.Removed)
	}
	b.update(Updated, "")
	before := b.meta()
	s.answer(file("b.example\nc.example\nfull:d.example\n192.0.2.0/24"))
	r = b.updateWith(Flags{DryRun: true, Diff: true}, Updated, "")
	if fmt.Sprint(r.Added, r.Removed) != "[192.0.2.0/24 full:d.example] [a.example]" || r.Before != 3 {
		t.Errorf("came %v, went %v, before %d", r.Added, r.Removed, r.Before)
	}
	b.holds("a.example\nb.example\nc.example\n")
	if b.meta() != before {
		t.Errorf("a dry run is remembered: %+v", b.meta())
	}
	b.clean()
}

func TestProgressIsReported(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	text := list(20000, "example")
	s.answer(file(text))
	var last, total int64
	b.updateWith(Flags{Progress: func(name string, n, of int64) {
		if name != "l" || n < last {
			t.Errorf("%s: %d after %d", name, n, last)
		}
		last, total = n, of
	}}, Updated, "")
	if last != int64(len(text)) || total != last {
		t.Errorf("the end is %d of %d, want %d", last, total, len(text))
	}
}
