package updater

import (
	"bufio"
	"io"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// difference finds what fresh content of a list adds to that in use, and what it takes
// away. Exceptions are left out.
func difference(l gateway.List, fresh string) (came, went []string, err error) {
	before, err := entries(l)
	if err != nil {
		before = nil // there is none, or it is bad: all entries come
	}
	l.File = fresh
	after, err := entries(l)
	if err != nil {
		return nil, nil, err
	}
	return without(after, before), without(before, after), nil
}

// entries are the names and prefixes of a list as a plain list has them, sorted.
func entries(l gateway.List) ([]string, error) {
	in, out := io.Pipe()
	go func() {
		_, err := lists.Convert(out, l, "plain")
		out.CloseWithError(err) // nil is the end
	}()
	defer in.Close()
	var all []string
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadString('\n')
		if line = strings.TrimPrefix(strings.TrimSpace(line), "domain:"); line != "" {
			all = append(all, line)
		}
		if err == io.EOF {
			slices.Sort(all)
			return slices.Compact(all), nil
		}
		if err != nil {
			return nil, err
		}
	}
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
