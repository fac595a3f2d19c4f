package index

import (
	"encoding/binary"
	"io"
)

// wordsAtOnce is how many words are encoded or decoded at a time: they fit the caches next
// to a CPU.
const wordsAtOnce = 4096

// writeWords writes words little-endian, to a writer that keeps its errors.
func writeWords(w io.Writer, words []uint64) {
	b := make([]byte, 0, 8*min(len(words), wordsAtOnce))
	for len(words) > 0 {
		n := min(len(words), wordsAtOnce)
		b = b[:0]
		for _, v := range words[:n] {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		w.Write(b)
		words = words[n:]
	}
}

// readWords reads n words. The caller has bounded n.
func readWords(r io.Reader, n uint64) ([]uint64, error) {
	words := make([]uint64, n)
	b := make([]byte, 8*min(n, wordsAtOnce))
	for at := 0; at < len(words); {
		part := words[at:min(len(words), at+wordsAtOnce)]
		if _, err := io.ReadFull(r, b[:8*len(part)]); err != nil {
			return nil, err
		}
		for i := range part {
			part[i] = binary.LittleEndian.Uint64(b[8*i:])
		}
		at += len(part)
	}
	return words, nil
}

// wordsOf decodes little-endian words.
func wordsOf(b []byte) []uint64 {
	words := make([]uint64, len(b)/8)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return words
}
