package index

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// The stored form holds, all numbers little-endian: the magic, five lengths, the description
// in JSON, what the caller attached, the hashes of the table, its values, the sets that the
// values stand for, and the SHA-256 of all that. It contains the seed of the hashes: only the
// owner may read it.
//
// It is read in one go and not mapped: 11 MB for a million names are read and verified in a
// few milliseconds, and a mapped file that is truncated would kill the process (SIGBUS).
const (
	magicPrefix = "nameroute index"
	magic       = magicPrefix + "\x02" // the version of the layout
	headSize    = len(magic) + 5*8
)

var (
	// ErrDamaged is returned by Load for what is no stored index, or a damaged one.
	ErrDamaged = errors.New("not a compiled index, or a damaged one")
	// ErrOtherBuild is returned by Load for what another build of the program stored.
	ErrOtherBuild = errors.New("stored by another build of the program")
)

// description is the small part of a stored index.
type description struct {
	Build    string
	Seed     seed
	Names    []string
	Width    int               // bytes of a value in the table
	Keywords map[string]uint32 // value ids
	Exprs    map[string]uint32
}

// Store writes the index and what the caller attaches to it. build identifies the build of
// the program: another one may read the same lists differently.
func (ix *Index) Store(w io.Writer, build string, attached []byte) error {
	about, err := json.Marshal(ix.describe(build))
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(magic)
	for _, n := range []int{len(about), len(attached), len(ix.names.hashes), len(ix.names.narrow), len(ix.values.sets)} {
		writeWords(out, []uint64{uint64(n)})
	}
	out.Write(about)
	out.Write(attached)
	writeWords(out, ix.names.hashes)
	out.Write(ix.names.narrow)
	writeWords(out, ix.values.sets)
	if err := out.Flush(); err != nil { // the first error of all writes
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

func (ix *Index) describe(build string) description {
	d := description{
		Build: build, Seed: ix.seed, Names: ix.lists.names, Width: ix.names.width,
		Keywords: map[string]uint32{}, Exprs: map[string]uint32{},
	}
	if p := ix.patterns; p != nil {
		for i, text := range p.texts {
			if p.keyword[i] != 0 { // the others only guard expressions
				d.Keywords[text] = p.keyword[i]
			}
		}
		for _, x := range p.exprs {
			d.Exprs[x.text] = x.value
		}
	}
	return d
}

// Load reads a stored index of size bytes, and what was attached to it. It allocates no more
// memory than the size allows, and returns nothing that has not been verified. build is that
// of Store; "" is that of none.
func Load(r io.Reader, size int64, build string) (ix *Index, attached []byte, err error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	head := make([]byte, headSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, nil, damaged(err)
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		if strings.HasPrefix(string(head), magicPrefix) { // the next byte is another version
			return nil, nil, ErrOtherBuild
		}
		return nil, nil, ErrDamaged
	}
	lengths := wordsOf(head[len(magic):])
	left := uint64(max(0, size-int64(headSize)-sha256.Size))
	for i, width := range []uint64{1, 1, 8, 1, 8} {
		if lengths[i] > left/width {
			return nil, nil, ErrDamaged
		}
		left -= lengths[i] * width
	}
	if left != 0 {
		return nil, nil, ErrDamaged
	}
	about, narrow := make([]byte, lengths[0]), make([]byte, lengths[3])
	attached = make([]byte, lengths[1])
	_, err1 := io.ReadFull(in, about)
	_, err2 := io.ReadFull(in, attached)
	hashes, err3 := readWords(in, lengths[2])
	_, err4 := io.ReadFull(in, narrow)
	sets, err5 := readWords(in, lengths[4])
	want := sum.Sum(nil)
	have := make([]byte, sha256.Size)
	_, err6 := io.ReadFull(r, have)
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil || !bytes.Equal(have, want) {
		return nil, nil, damaged(err)
	}
	var d description
	if err := json.Unmarshal(about, &d); err != nil {
		return nil, nil, damaged(err)
	}
	if build == "" || d.Build != build {
		return nil, nil, ErrOtherBuild
	}
	ix, err = d.assemble(hashes, narrow, sets)
	return ix, attached, err
}

func damaged(err error) error {
	if err == nil {
		return ErrDamaged
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// assemble makes an index of the parts of a file whose checksum is right. It verifies all
// that a lookup relies on: a lookup must neither fail nor loop, whatever the file holds.
func (d *description) assemble(hashes []uint64, narrow []byte, sets []uint64) (*Index, error) {
	v := &values{words: (len(d.Names) + 63) / 64, sets: sets}
	t := &table{hashes: hashes, buckets: uint64(len(hashes) / bucketSize), narrow: narrow, width: d.Width}
	count := uint32(1) // of sets; without lists there is one of no words
	if n := planeCount * v.words; n > 0 {
		if count = uint32(len(sets) / n); len(sets)%n != 0 {
			return nil, ErrDamaged
		}
	}
	if len(d.Names) > MaxLists || !t.verify(count) {
		return nil, ErrDamaged
	}
	for text, id := range d.Keywords {
		if entry.CheckKeyword(text) != "" || id >= count {
			return nil, ErrDamaged
		}
	}
	for _, id := range d.Exprs {
		if id >= count {
			return nil, ErrDamaged
		}
	}
	ix := &Index{lists: &listNames{d.Names}, seed: d.Seed, names: t, values: v}
	if len(d.Keywords)+len(d.Exprs) > 0 {
		ix.patterns = newPatterns(d.Keywords, d.Exprs, nil)
	}
	return ix, nil
}

// verify reports whether a frozen table can be searched and has only values below count. It
// counts its names.
func (t *table) verify(count uint32) bool {
	if len(t.hashes) == 0 || len(t.hashes)%bucketSize != 0 ||
		t.width < 1 || t.width > 4 || len(t.narrow) != len(t.hashes)*t.width {
		return false
	}
	ends := false // a bucket that is not full ends a search
	for i, h := range t.hashes {
		if t.value(i) >= count {
			return false
		}
		if h != 0 {
			t.n++
		}
		ends = ends || h == 0 && i%bucketSize == bucketSize-1
	}
	return ends
}
