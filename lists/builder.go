package lists

import (
	"regexp"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/entry"
)

// MaxLists bounds the lists of one index. Every list is named in gateway.yaml by
// hand; the bound makes a Match a value of fixed size, so that a lookup allocates
// nothing.
const MaxLists = 512

// Builder collects entries and compiles them. It keeps 10 bytes for each entry on a
// name. It is not safe for concurrent use.
type Builder struct {
	names []string
	seed  seed
	parts []*part
	exprs map[string]*regexp.Regexp // compiled by an earlier index
	pace  *pace.Pace
}

// NewBuilder starts an index over lists of these names, at most MaxLists; more are
// a mistake of the caller and panic.
func NewBuilder(names []string) *Builder {
	return newBuilder(append([]string(nil), names...), newSeed())
}

func newBuilder(names []string, s seed) *Builder {
	if len(names) > MaxLists {
		panic("lists: more than MaxLists lists")
	}
	b := &Builder{names: names, seed: s, parts: make([]*part, len(names)), exprs: map[string]*regexp.Regexp{}}
	for i := range b.parts {
		b.parts[i] = &part{seed: s}
	}
	return b
}

// Add puts an entry on a list, which is an index into the builder's names. Entries
// that are no names and expressions that do not compile are ignored: formats
// have reported them by then.
func (b *Builder) Add(list int, e entry.Entry) { b.parts[list].add(e) }

// part is the entries of one list on their way into an index: the hashes of names,
// and patterns as text.
type part struct {
	seed     seed
	chunks   []*chunk
	keywords []said
	regexps  []said
}

// chunk is a piece of a part; pieces are never copied to grow.
type chunk struct {
	n    int
	hash [8192]uint64
	what [8192]planes
}

// said is a pattern and what a list says of the names that it matches.
type said struct {
	text string
	what planes
}

func (p *part) add(e entry.Entry) {
	switch e.Kind {
	case entry.Keyword:
		if entry.CheckKeyword(e.Text) == "" {
			p.keywords = append(p.keywords, said{e.Text, planesOf(e)})
		}
	case entry.Regexp:
		p.regexps = append(p.regexps, said{e.Text, planesOf(e)})
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

func (p *part) addHash(h uint64, what planes) {
	if len(p.chunks) == 0 || p.chunks[len(p.chunks)-1].n == len(chunk{}.hash) {
		p.chunks = append(p.chunks, new(chunk))
	}
	c := p.chunks[len(p.chunks)-1]
	c.hash[c.n], c.what[c.n] = h, what
	c.n++
}

func (p *part) len() (n int) {
	for _, c := range p.chunks {
		n += c.n
	}
	return n
}

// carry takes a list over from an index with the same seed.
func (b *Builder) carry(list int, from *Index, old int) {
	p := b.parts[list]
	for slot, h := range from.names.hashes {
		if b.pace.At(slot); h == 0 {
			continue
		}
		if what := from.values.of(from.names.value(slot), old); what != 0 {
			p.addHash(h, what)
		}
	}
	if from.patterns == nil {
		return
	}
	for i, text := range from.patterns.texts {
		if what := from.values.of(from.patterns.keyword[i], old); what != 0 {
			p.keywords = append(p.keywords, said{text, what})
		}
	}
	for _, x := range from.patterns.exprs {
		if what := from.values.of(x.value, old); what != 0 {
			p.regexps = append(p.regexps, said{x.text, what})
			b.exprs[x.text] = x.re
		}
	}
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

// buildPatterns merges the lists' keywords and expressions; nil where there are none.
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
