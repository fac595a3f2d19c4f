package lists

import (
	"regexp"
	"strings"
	"sync"
)

// naive is the meaning of lists, written down as simply as it can be.
type naive struct{ lists [][]Entry }

var compiled sync.Map // of the model's expressions

func (e Entry) holds(name string) bool {
	switch e.Kind {
	case Suffix:
		return name == e.Text || strings.HasSuffix(name, "."+e.Text)
	case Below:
		return strings.HasSuffix(name, "."+e.Text)
	case Full:
		return name == e.Text
	case Keyword:
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

// match says which lists hold the name, and whether any claims it.
func (n naive) match(name string) (listed []bool, claimed bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	listed = make([]bool, len(n.lists))
	for i, entries := range n.lists {
		// Longest name that lists and longest that specifically excepts; a pattern
		// is shorter than any name.
		lists, excepts, always, insist := -1, -1, false, false
		for _, e := range entries {
			if !e.holds(name) {
				continue
			}
			claimed = true
			length := 0
			if e.Kind != Keyword && e.Kind != Regexp {
				length = len(e.Text)
			}
			if e.Kind == Below { // as if it began with a dot
				length++
			}
			switch e.Exception {
			case NoException:
				lists = max(lists, length)
			case Specific:
				if length == 0 {
					always = true
				}
				excepts = max(excepts, length)
			case Always:
				always = true
			case Insist:
				insist = true
			}
		}
		listed[i] = insist || lists >= 0 && lists > excepts && !always
	}
	return listed, claimed
}
