package nft

import (
	"slices"

	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// rangeChange is what a static set loses and gets.
type rangeChange struct {
	set      Set
	del, add []span.Range
}

// diffRanges compares two sorted lists of ranges.
func diffRanges(have, want []span.Range) (del, add []span.Range) {
	for len(have) > 0 || len(want) > 0 {
		switch {
		case len(want) == 0 || (len(have) > 0 && have[0].From.Less(want[0].From)):
			del, have = append(del, have[0]), have[1:]
		case len(have) == 0 || want[0].From.Less(have[0].From):
			add, want = append(add, want[0]), want[1:]
		default:
			if have[0] != want[0] {
				del, add = append(del, have[0]), append(add, want[0])
			}
			have, want = have[1:], want[1:]
		}
	}
	return del, add
}

// chunks cuts a change into parts of about limit elements, each of which the kernel
// can take by itself: ranges that overlap or touch stay together, because a wide
// one cannot be added before the narrow ones in it are deleted.
func (c rangeChange) chunks(limit int) []rangeChange {
	type item struct {
		span.Range
		add bool
	}
	items := make([]item, 0, len(c.del)+len(c.add))
	for _, r := range c.del {
		items = append(items, item{r, false})
	}
	for _, r := range c.add {
		items = append(items, item{r, true})
	}
	slices.SortStableFunc(items, func(a, b item) int { return a.From.Compare(b.From) })

	var out []rangeChange
	var over span.Range // of the part that is being filled
	count := 0
	for _, it := range items {
		if len(out) == 0 || (count >= limit && !span.Touches(over, it.Range)) {
			out, count = append(out, rangeChange{set: c.set}), 0
			over = it.Range
		}
		if over.To.Less(it.To) {
			over.To = it.To
		}
		part := &out[len(out)-1]
		if it.add {
			part.add = append(part.add, it.Range)
		} else {
			part.del = append(part.del, it.Range)
		}
		count += 2
	}
	return out
}

// rangeElements are the kernel's elements of ranges: a start, and an end behind the
// last address unless that is the family's last.
func rangeElements(ranges []span.Range) []element {
	elems := make([]element, 0, 2*len(ranges))
	for _, r := range ranges {
		next := r.To.Next()
		elems = append(elems, element{key: r.From, open: !next.IsValid()})
		if next.IsValid() {
			elems = append(elems, element{key: next, end: true})
		}
	}
	return elems
}
