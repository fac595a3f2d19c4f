package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

// blocks says which block answers, and why the others do not.
func (l *look) blocks() {
	for _, b := range l.facts.Blocks {
		b.Zones = distinct(b.Zones)
		b.Why = l.why(b)
		l.doc.Blocks = append(l.doc.Blocks, b)
	}
}

func distinct(all []string) (out []string) {
	for _, s := range all {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (l *look) why(b Block) string {
	answering := l.answering()
	switch instance.Standing(b.Standing) {
	case instance.Answers:
		return "answers: " + l.chosen(b)
	case instance.After:
		return fmt.Sprintf("would answer, but comes after line %d", answering.Line)
	case instance.Narrower:
		return fmt.Sprintf("is not asked: line %d has the more specific zone %s", answering.Line, strings.Join(answering.Zones, " "))
	case instance.OtherZone:
		return "its zones do not hold the name"
	case instance.Elsewhere:
		if b.Class != "" {
			return "is for the clients of " + b.Class
		}
		return "is served at another address or port than this client asks"
	}
	if len(b.Lists) == 0 {
		return "its view does not choose this query"
	}
	var words []string
	for _, name := range b.Lists {
		word := name + " has no entry for the name"
		for _, list := range l.doc.Lists {
			if list.Name != name {
				continue
			}
			for _, e := range list.Entries {
				if word = name + " has it in its file, not in what is in force"; e.Exception {
					word = name + " has an exception, " + e.String()
					break
				}
			}
		}
		words = append(words, word)
	}
	return strings.Join(words, "; ")
}

// chosen says what a block answers the name by.
func (l *look) chosen(b Block) string {
	if len(b.Lists) == 0 {
		return "it has no list, and answers every name that is left"
	}
	list, e := l.listHolding(b.Lists)
	switch {
	case list == nil:
		return "its lists " + strings.Join(b.Lists, ", ")
	case list.Alias != "":
		return fmt.Sprintf("an answer for a name of %s, which list %s holds, leads to it", list.Alias, list.Name)
	case e == nil:
		return "list " + list.Name + " holds it"
	}
	return fmt.Sprintf("list %s holds it by %s", list.Name, e)
}

// answering returns the block that answers; the zero one where none does.
func (l *look) answering() Block {
	for _, b := range l.facts.Blocks {
		if b.Standing == string(instance.Answers) {
			return b
		}
	}
	return Block{}
}

// meant returns the route that the block's names take: wan without one.
func (b Block) meant() string {
	if b.Route == "" {
		return gateway.WAN
	}
	return b.Route
}

// parsed returns a block as the Corefile has it; nil where that is not known.
func (l *look) parsed(b Block) *corefile.Block {
	if l.core == nil {
		return nil
	}
	for i := range l.core.Blocks {
		if c := &l.core.Blocks[i]; c.File == b.File && c.Line == b.Line {
			return c
		}
	}
	return nil
}
