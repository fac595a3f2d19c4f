package ruleset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

// TestTrie: every trie returns the names that it was built of.
func TestTrie(t *testing.T) {
	for n := 1; n < 300; n += 7 {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("n%d.x%d.test", i, i%5), fmt.Sprintf("x%d.test", i%5))
		}
		in := bytes.NewReader(rulesettest.Trie(rulesettest.Uvarint, names...))
		tr, err := readTrie(in, func() (uint64, error) { return binary.ReadUvarint(in) })
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := tr.each(func(k []byte) { got = append(got, string(k)) }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		slices.Sort(got)
		if !slices.Equal(got, slices.Compact(names)) {
			t.Fatalf("%d names came back as %d", n, len(got))
		}
	}
}
