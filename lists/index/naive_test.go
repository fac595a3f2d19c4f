package index

import (
	"regexp"
	"strings"
	"sync"

	"github.com/nameroute/nameroute/lists/entry"
)

// naive is the meaning of lists in the simplest code.
type naive struct{ lists [][]entry.Entry }

var compiled sync.Map // of the model's expressions

func holds(e entry.Entry, name string) bool {
	switch e.Kind {
	case entry.Suffix:
		return name == e.Text || strings.HasSuffix(name, "."+e.Text)
	case entry.Below:
		return strings.HasSuffix(name, "."+e.Text)
	case entry.Full:
		return name == e.Text
	case entry.Keyword:
		return strings.Contains(name, e.Text)
	default:
		re, ok := compiled.Load(e.Text)
		if !ok {
			re = regexp.MustCompile("(?i)" + e.Text)
			compiled.Store(e.Text, re)
		}
		return re.(*regexp.Regexp).MatchString(name)
	}
}

// match returns which lists hold the name, and whether any claims it.
func (n naive) match(name string) (listed []bool, claimed bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	listed = make([]bool, len(n.lists))
	for i, entries := range n.lists {
		// Longest name that lists and longest that specifically excepts; a pattern
		// is shorter than any name.
		lists, excepts, always, insist := -1, -1, false, false
		for _, e := range entries {
			if !holds(e, name) {
				continue
			}
			claimed = true
			length := 0
			if e.Kind != entry.Keyword && e.Kind != entry.Regexp {
				length = len(e.Text)
			}
			if e.Kind == entry.Below { // as if it began with a dot
				length++
			}
			switch e.Exception {
			case entry.NoException:
				lists = max(lists, length)
			case entry.Specific:
				if length == 0 {
					always = true
				}
				excepts = max(excepts, length)
			case entry.Always:
				always = true
			case entry.Insist:
				insist = true
			}
		}
		listed[i] = insist || lists >= 0 && lists > excepts && !always
	}
	return listed, claimed
}
