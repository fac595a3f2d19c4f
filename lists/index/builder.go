package index

import (
	"regexp"
	"slices"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/entry"
)

// MaxLists bounds the lists of one index. Every list is named in gateway.yaml by hand; the
// bound gives a Match a fixed size, so that a lookup allocates nothing.
const MaxLists = 512

// Builder collects the entries of lists and compiles them. It takes 10 bytes for each entry
// on a name. It is not safe for concurrent use.
type Builder struct {
	names []string
	seed  seed
	parts []*Part
	exprs map[string]*regexp.Regexp // compiled by an earlier index
	pace  *pace.Pace
}

// NewBuilder returns a Builder of an index over lists of these names. It panics if there are
// more than MaxLists.
func NewBuilder(names []string) *Builder {
	return newBuilder(append([]string(nil), names...), newSeed(), nil)
}

func newBuilder(names []string, s seed, p *pace.Pace) *Builder {
	if len(names) > MaxLists {
		panic("index: more than MaxLists lists")
	}
	b := &Builder{names: names, seed: s, parts: make([]*Part, len(names)), exprs: map[string]*regexp.Regexp{}, pace: p}
	for i := range b.parts {
		b.parts[i] = &Part{seed: s}
	}
	return b
}

// Add adds an entry to a list, which is an index into the builder's names. See Part.Add.
func (b *Builder) Add(list int, e entry.Entry) { b.parts[list].Add(e) }

// Part is the entries of one list before they are compiled: the hashes of names, and
// patterns as text.
type Part struct {
	seed     seed
	chunks   []*chunk
	keywords []pattern
	regexps  []pattern
}

// NewPart returns an empty part for Rebuild.
func (ix *Index) NewPart() *Part { return &Part{seed: ix.seed} }

// chunk is a piece of a part. Pieces are never copied to grow.
type chunk struct {
	n    int
	hash [8192]uint64
	what [8192]planes
}

// pattern is a keyword or an expression, and what a list says of the names that it matches.
type pattern struct {
	text string
	what planes
}

// Add adds an entry. Texts that are no names, keywords or expressions are ignored: the
// format has skipped them.
func (p *Part) Add(e entry.Entry) {
	switch e.Kind {
	case entry.Keyword:
		if entry.CheckKeyword(e.Text) == "" {
			p.keywords = append(p.keywords, pattern{e.Text, planesOf(e)})
		}
	case entry.Regexp:
		p.regexps = append(p.regexps, pattern{e.Text, planesOf(e)})
	default:
		var f folded
		if !f.fold(e.Text) {
			return
		}
		if h, ok := p.seed.name(&f); ok {
			p.addHash(h, planesOf(e))
		}
	}
}

func (p *Part) addHash(h uint64, what planes) {
	if len(p.chunks) == 0 || p.chunks[len(p.chunks)-1].n == len(chunk{}.hash) {
		p.chunks = append(p.chunks, new(chunk))
	}
	c := p.chunks[len(p.chunks)-1]
	c.hash[c.n], c.what[c.n] = h, what
	c.n++
}

func (p *Part) len() (n int) {
	for _, c := range p.chunks {
		n += c.n
	}
	return n
}

// carry copies a list from an index with the same seed.
func (b *Builder) carry(list int, from *Index, old int) {
	p := b.parts[list]
	for slot, h := range from.names.hashes {
		if b.pace.At(slot); h == 0 {
			continue
		}
		if what := from.values.planes(from.names.value(slot), old); what != 0 {
			p.addHash(h, what)
		}
	}
	if from.patterns == nil {
		return
	}
	for i, text := range from.patterns.texts {
		if what := from.values.planes(from.patterns.keyword[i], old); what != 0 {
			p.keywords = append(p.keywords, pattern{text, what})
		}
	}
	for _, x := range from.patterns.exprs {
		if what := from.values.planes(x.value, old); what != 0 {
			p.regexps = append(p.regexps, pattern{x.text, what})
			b.exprs[x.text] = x.re
		}
	}
}

// Rebuild compiles an index over lists of these names. A list whose part is nil is copied
// from ix by its name, so that its file need not be read; the other parts are of ix.NewPart.
func (ix *Index) Rebuild(names []string, parts []*Part, p *pace.Pace) *Index {
	b := newBuilder(names, ix.seed, p)
	for i, name := range names {
		if parts[i] != nil {
			b.parts[i] = parts[i]
		} else if k := slices.Index(ix.Names(), name); k >= 0 {
			b.carry(i, ix, k)
		}
	}
	next := b.Build()
	if slices.Equal(names, ix.Names()) {
		next.lists = ix.lists // selections of ix stay as fast
	}
	return next
}

// Build compiles what was added. The builder must not be used afterwards.
func (b *Builder) Build() *Index {
	n := 0
	for _, p := range b.parts {
		n += p.len()
	}
	v, t := newValues(len(b.names)), newTable(n)
	for list, p := range b.parts {
		for i, c := range p.chunks {
			for k, h := range c.hash[:c.n] {
				b.pace.At(k)
				slot := t.slot(h)
				t.wide[slot] = v.add(t.wide[slot], list, c.what[k])
			}
			p.chunks[i] = nil
		}
	}
	t = t.shrunk(b.pace)
	ix := &Index{lists: &listNames{b.names}, seed: b.seed, names: t, values: v}
	ix.patterns = b.buildPatterns(v)
	var highest uint32
	for _, id := range t.wide {
		highest = max(highest, id)
	}
	t.freeze(highest, b.pace)
	v.freeze()
	b.parts = nil
	return ix
}

// buildPatterns merges the keywords and expressions of all lists. It returns nil if there are
// none.
func (b *Builder) buildPatterns(v *values) *patterns {
	keywords, exprs := map[string]uint32{}, map[string]uint32{}
	for list, p := range b.parts {
		for _, k := range p.keywords {
			keywords[k.text] = v.add(keywords[k.text], list, k.what)
		}
		for _, x := range p.regexps {
			exprs[x.text] = v.add(exprs[x.text], list, x.what)
		}
	}
	if len(keywords) == 0 && len(exprs) == 0 {
		return nil
	}
	return newPatterns(keywords, exprs, b.exprs)
}
