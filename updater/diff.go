package updater

import (
	"bufio"
	"io"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// diff returns the entries that incoming content of a list adds to those in use, and
// those that it removes. Exceptions are not compared.
func diff(l gateway.List, incoming string) (added, removed []string, err error) {
	before, err := entries(l)
	if err != nil {
		before = nil // there is no content, or it is bad: all entries are new
	}
	l.File = incoming
	after, err := entries(l)
	if err != nil {
		return nil, nil, err
	}
	return subtract(after, before), subtract(before, after), nil
}

// entries returns the names and prefixes of a list in the form of a plain list, sorted.
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

// subtract returns what is in a and not in b, which are both sorted.
func subtract(a, b []string) []string {
	var only []string
	for _, s := range a {
		if _, found := slices.BinarySearch(b, s); !found {
			only = append(only, s)
		}
	}
	return only
}
