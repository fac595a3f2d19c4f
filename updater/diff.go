package updater

import (
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// difference finds the names that fresh content of a list adds to that in use, and
// those that it takes away.
func difference(l gateway.List, fresh string) (came, went []string, err error) {
	before, err := names(l)
	if err != nil {
		before = nil // there is none, or it is bad: all names come
	}
	l.File = fresh
	after, err := names(l)
	if err != nil {
		return nil, nil, err
	}
	return without(after, before), without(before, after), nil
}

// names are the names of a list, sorted.
func names(l gateway.List) ([]string, error) {
	all, err := lists.SampleNames(l, int(^uint(0)>>1))
	slices.Sort(all)
	return slices.Compact(all), err
}

// without is what sorted a holds and sorted b does not.
func without(a, b []string) []string {
	var only []string
	for _, s := range a {
		if _, found := slices.BinarySearch(b, s); !found {
			only = append(only, s)
		}
	}
	return only
}
