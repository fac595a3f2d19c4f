package ruleset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/nameroute/nameroute/lists/entry"
)

// trie is a set of byte strings as sing-box and mihomo store them. Its nodes are numbered
// in breadth-first order. For each node the bitmap has a 0 for each child and then a 1; the
// labels are those of the children in the same order: label i leads to node i+1. Leaves
// marks the nodes where a string ends.
//
// The strings are names from right to left: going up from a leaf spells a name from left to
// right.
type trie struct {
	leaves, bitmap []uint64
	labels         []byte
}

// maxNodes bounds a trie, which is held in memory: about 90 MiB while it is read, enough
// for a million and a half names.
const maxNodes = 16 << 20

var errTrie = errors.New("damaged set of names")

// readTrie reads the three parts of a trie. length reads the number of items of each.
func readTrie(r io.Reader, length func() (uint64, error)) (t trie, err error) {
	if t.leaves, err = readWords(r, length); err != nil {
		return t, err
	}
	if t.bitmap, err = readWords(r, length); err != nil {
		return t, err
	}
	n, err := length()
	if err != nil {
		return t, err
	}
	if n > maxNodes {
		return t, fmt.Errorf("%w: %d nodes", errTrie, n)
	}
	t.labels, err = readBytes(r, int(n))
	return t, err
}

func readWords(r io.Reader, length func() (uint64, error)) ([]uint64, error) {
	n, err := length()
	if err != nil {
		return nil, err
	}
	if n > 2*maxNodes/64+1 {
		return nil, fmt.Errorf("%w: %d words", errTrie, n)
	}
	b, err := readBytes(r, int(n)*8)
	if err != nil {
		return nil, err
	}
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.BigEndian.Uint64(b[i*8:])
	}
	return words, nil
}

// readBytes reads n bytes. It allocates memory as they arrive, not as they are announced.
func readBytes(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		k := min(n-len(b), max(step, len(b)))
		b = append(b, make([]byte, k)...)
		if _, err := io.ReadFull(r, b[len(b)-k:]); err != nil {
			return nil, unexpected(err)
		}
	}
	return b, nil
}

// each calls key for every string, spelled from its end. The slice is reused.
func (t *trie) each(key func(reversed []byte)) error {
	parent, err := t.parents()
	if err != nil {
		return err
	}
	spelled := make([]byte, 0, 2*entry.MaxName)
	for w, word := range t.leaves {
		for ; word != 0; word &= word - 1 {
			node := w*64 + bits.TrailingZeros64(word)
			if node >= len(parent) {
				return errTrie
			}
			spelled = spelled[:0]
			for ; node > 0 && len(spelled) < cap(spelled); node = int(parent[node]) {
				spelled = append(spelled, t.labels[node-1])
			}
			key(spelled)
		}
	}
	return nil
}

// parents returns the parent of each node. Parents have smaller numbers.
func (t *trie) parents() ([]uint32, error) {
	nodes := len(t.labels) + 1
	parent := make([]uint32, nodes)
	node, child := 0, 1
	for i := 0; node < nodes; i++ {
		switch {
		case i/64 >= len(t.bitmap):
			return nil, errTrie
		case t.bitmap[i/64]>>(i%64)&1 == 1:
			node++
		case child == nodes || node >= child:
			return nil, errTrie
		default:
			parent[child] = uint32(node)
			child++
		}
	}
	if child != nodes {
		return nil, errTrie
	}
	return parent, nil
}
