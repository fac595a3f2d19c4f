package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/updater"
)

// lists looks into the files of the lists that are used.
func (l *look) lists() {
	fetched := updater.ReadStatus(l.cfg, l.State)
	for _, list := range l.cfg.Lists {
		byName, byPrefix := l.used(list.Name)
		if !byName && !byPrefix {
			continue
		}
		one := List{Name: list.Name, Source: list.File, Format: list.Format, Holds: slices.Contains(l.facts.Listed, list.Name)}
		for _, r := range l.facts.Lists {
			if r.Name == list.Name && r.Error != "" {
				one.Error = r.Error
			}
		}
		if s, ok := l.cfg.Source(list.Name); ok {
			st, _ := fetched.List(list.Name)
			if one.Source = s.URLs[0]; st.URL != "" {
				one.Source = st.URL
			}
			if st.Err != nil && one.Error == "" {
				one.Error = st.Err.Error()
			} else if st.Error != "" && one.Error == "" {
				one.Error = st.Error
			}
		}
		if slices.Contains(l.facts.Alias, list.Name) && !l.facts.Claimed {
			one.Alias = plainName(l.facts.Domain)
		}
		if l.doc.Name != "" {
			l.entriesOf(&one, list, l.doc.Name)
		}
		l.doc.Lists = append(l.doc.Lists, one)
	}
}

// used reports whether blocks name the list, and whether a route takes its prefixes.
func (l *look) used(list string) (byName, byPrefix bool) {
	byName = slices.ContainsFunc(l.facts.Blocks, func(b Block) bool { return slices.Contains(b.Lists, list) })
	if l.core != nil {
		byName = byName || slices.Contains(l.core.Lists(), list)
	}
	byPrefix = slices.ContainsFunc(l.cfg.Choices(), func(r gateway.Route) bool { return slices.Contains(r.Prefixes, list) })
	return byName, byPrefix
}

// entriesOf finds the entries of a list's file that match a name.
func (l *look) entriesOf(one *List, list gateway.List, name string) {
	verdicts, err := lists.Test(list, name)
	if err != nil {
		if one.Error == "" {
			one.Error = err.Error()
		}
		return
	}
	for _, o := range verdicts[0].Origins {
		one.Entries = append(one.Entries, entryOf(o))
	}
	one.Old = verdicts[0].Listed != one.Holds
}

func entryOf(o lists.Origin) Entry {
	return Entry{
		File: o.File, Line: o.Line, Text: strings.TrimSpace(o.Text), Meaning: o.Meaning(),
		Exception: !o.Prefix.IsValid() && o.Entry.Exception.Removes(),
	}
}

// String returns the entry as messages quote it.
func (e Entry) String() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// prefixesOf finds the prefixes of lists that cover an address.
func (l *look) prefixesOf(a netip.Addr) (all []Prefix) {
	for _, list := range l.cfg.Lists {
		if _, byPrefix := l.used(list.Name); !byPrefix {
			continue
		}
		verdicts, err := lists.Test(list, a.String())
		if err != nil {
			continue // told with the list
		}
		for _, o := range verdicts[0].Origins {
			all = append(all, Prefix{List: list.Name, File: o.File, Line: o.Line, Text: strings.TrimSpace(o.Text)})
		}
	}
	return all
}

// listHolding returns the list by which the answering block has the name, and its entry.
func (l *look) listHolding(among []string) (list *List, e *Entry) {
	for i := range l.doc.Lists {
		one := &l.doc.Lists[i]
		if !one.Holds && one.Alias == "" || !slices.Contains(among, one.Name) {
			continue
		}
		for j := range one.Entries {
			if !one.Entries[j].Exception {
				return one, &one.Entries[j]
			}
		}
		return one, nil
	}
	return nil, nil
}
