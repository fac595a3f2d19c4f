package lists

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
)

// cacheAbout describes a compiled index: what is small in it.
type cacheAbout struct {
	Program  string // see program
	Seed     seed
	Names    []string
	Width    int               // bytes of a value in the table
	Keywords map[string]uint32 // value ids
	Exprs    map[string]uint32
	Lists    []cacheList
}

// cacheList is a list whose content the index has.
type cacheList struct {
	Read     gateway.List
	Report   Report
	Sum      digest
	Prefixes []byte // each behind its length
	File     *cacheSignature
}

// cacheSignature is a signature that can be relied on later.
type cacheSignature struct {
	Size         int64
	Mtime, Ctime [2]int64 // seconds and nanoseconds
	Dev, Inode   uint64
}

func describeCache(ix *Index, held []*holding, program string) ([]byte, error) {
	a := cacheAbout{
		Program: program, Seed: ix.seed, Names: ix.lists.names, Width: ix.names.width,
		Keywords: map[string]uint32{}, Exprs: map[string]uint32{},
	}
	if p := ix.patterns; p != nil {
		for i, text := range p.texts {
			if p.keyword[i] != 0 { // the others only guard expressions
				a.Keywords[text] = p.keyword[i]
			}
		}
		for _, x := range p.exprs {
			a.Exprs[x.text] = x.value
		}
	}
	for _, h := range held {
		if !h.good {
			continue
		}
		c := cacheList{Read: h.read, Report: h.report, Sum: h.sum, File: signed(h)}
		c.Report.Err = nil // File is nil then: the next start looks again
		for _, p := range h.prefixes {
			b, err := p.MarshalBinary()
			if err != nil {
				return nil, err
			}
			c.Prefixes = append(append(c.Prefixes, byte(len(b))), b...)
		}
		a.Lists = append(a.Lists, c)
	}
	return json.Marshal(a)
}

// signed is the signature of a list's file, nil where the next start must look into
// the file whatever its signature.
func signed(h *holding) *cacheSignature {
	s := h.sig
	if s.young || s.missing || h.report.Err != nil || h.list != h.read {
		return nil
	}
	return &cacheSignature{
		Size: s.size, Mtime: seconds(s.mtime), Ctime: seconds(s.ctime), Dev: s.dev, Inode: s.inode,
	}
}

func seconds(t time.Time) [2]int64 { return [2]int64{t.Unix(), int64(t.Nanosecond())} }

// assemble makes an index of the parts of a file whose checksum is right, and checks
// all that a lookup relies on: it must not fail nor run forever whatever is in the file.
func assemble(about []byte, hashes []uint64, narrow []byte, sets []uint64, program string) (*Index, []*holding, error) {
	var a cacheAbout
	if err := json.Unmarshal(about, &a); err != nil {
		return nil, nil, corrupt(err)
	}
	if program == "" || a.Program != program {
		return nil, nil, errForeign
	}
	v := &values{words: (len(a.Names) + 63) / 64, sets: sets}
	t := &table{hashes: hashes, buckets: uint64(len(hashes) / bucketSize), narrow: narrow, width: a.Width}
	count := uint32(1) // sets; there is one of no words where there are no lists
	if n := planeCount * v.words; n > 0 {
		if count = uint32(len(sets) / n); len(sets)%n != 0 {
			return nil, nil, errCorrupt
		}
	}
	if len(a.Names) > MaxLists || !t.sound(count) {
		return nil, nil, errCorrupt
	}
	ix := &Index{lists: &listNames{a.Names}, seed: a.Seed, names: t, values: v}
	for text, id := range a.Keywords {
		if entry.CheckKeyword(text) != "" || id >= count {
			return nil, nil, errCorrupt
		}
	}
	for _, id := range a.Exprs {
		if id >= count {
			return nil, nil, errCorrupt
		}
	}
	if len(a.Keywords)+len(a.Exprs) > 0 {
		ix.patterns = newPatterns(a.Keywords, a.Exprs, nil)
	}
	var held []*holding
	for _, c := range a.Lists {
		h, ok := c.holding()
		if !ok || !slices.Contains(a.Names, c.Read.Name) {
			return nil, nil, errCorrupt
		}
		held = append(held, h)
	}
	return ix, held, nil
}

// sound reports whether a frozen table can be searched, with values below count; it
// counts its names.
func (t *table) sound(count uint32) bool {
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

func (c cacheList) holding() (*holding, bool) {
	h := &holding{list: c.Read, read: c.Read, good: true, sum: c.Sum, report: c.Report, sig: signature{young: true}}
	if s := c.File; s != nil {
		h.sig = signature{
			size: s.Size, mtime: time.Unix(s.Mtime[0], s.Mtime[1]), ctime: time.Unix(s.Ctime[0], s.Ctime[1]),
			dev: s.Dev, inode: s.Inode,
		}
	}
	for b := c.Prefixes; len(b) > 0; {
		n := int(b[0])
		var p netip.Prefix
		if n >= len(b) || p.UnmarshalBinary(b[1:1+n]) != nil || !p.IsValid() {
			return nil, false
		}
		h.prefixes = append(h.prefixes, p)
		b = b[1+n:]
	}
	return h, true
}
