package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/nameroute/nameroute/lists/entry"
)

func build(names []string, lists ...[]entry.Entry) *Index {
	b := NewBuilder(names)
	for i, entries := range lists {
		for _, e := range entries {
			b.Add(i, e)
		}
	}
	return b.Build()
}

func which(ix *Index, name string) string { return strings.Join(ix.Match(name).Lists(), " ") }

func TestMatch(t *testing.T) {
	ix := build([]string{"a", "b", "c"},
		[]entry.Entry{
			{Kind: entry.Suffix, Text: "example.com"}, {Kind: entry.Full, Text: "only.example.net"}, {Kind: entry.Below, Text: "below.example.net"},
			{Kind: entry.Keyword, Text: "stream"}, {Kind: entry.Keyword, Text: "eam.x"}, {Kind: entry.Regexp, Text: `^img\d+\.pics\.test$`},
			{Kind: entry.Suffix, Exception: entry.Always, Text: "never.example.com"}, {Kind: entry.Suffix, Text: "in.never.example.com"},
			{Kind: entry.Keyword, Exception: entry.Always, Text: "forbidden"},
		},
		[]entry.Entry{
			{Kind: entry.Suffix, Text: "example.com"}, {Kind: entry.Suffix, Exception: entry.Specific, Text: "out.example.com"},
			{Kind: entry.Suffix, Text: "back.out.example.com"}, {Kind: entry.Full, Exception: entry.Specific, Text: "full.example.com"},
			{Kind: entry.Suffix, Text: "both.test"}, {Kind: entry.Suffix, Exception: entry.Specific, Text: "both.test"},
		},
		[]entry.Entry{{Kind: entry.Suffix, Text: "com"}, {Kind: entry.Suffix, Text: "xn--fiqs8s"}, {Kind: entry.Regexp, Text: `Upper|\d{9}`}},
	)
	for _, tt := range []struct{ name, want string }{
		{"example.com", "a b c"},
		{"EXAMPLE.com.", "a b c"},
		{"www.eXample.COM", "a b c"},
		{"notexample.com", "c"},
		{"example.com.net", ""},
		{"example.org", ""},
		{"com", "c"},
		{".com", ""},
		{"a..com", ""},
		{"com..", ""},
		{"", ""},
		{".", ""},
		{"only.example.net", "a"},
		{"x.only.example.net", ""},
		{"below.example.net", ""},
		{"x.below.example.net", "a"},
		{"y.x.below.example.net", "a"},
		{"upstreams.test", "a"},
		{"steam.xyz.test", "a"},
		{"img12.pics.test", "a"},
		{"img.pics.test", ""},
		{"IMG12.PICS.test.", "a"},
		{"never.example.com", "b c"},
		{"in.never.example.com", "b c"},
		{"stream.forbidden.test", ""},
		{"out.example.com", "a c"},
		{"x.out.example.com", "a c"},
		{"back.out.example.com", "a b c"},
		{"x.back.out.example.com", "a b c"},
		{"full.example.com", "a c"},
		{"x.full.example.com", "a b c"},
		{"both.test", ""},
		{"xn--fiqs8s", "c"},
		{"www.xn--fiqs8s.", "c"},
		{"upper.test", "c"},
		{"123456789.test", "c"},
		{`www\.example.com`, "c"},        // one label that holds a dot
		{`www.e\120ample.com.`, "a b c"}, // \120 is x
		{`x\046example.com`, "c"},        // \046 is a dot within a label
		{`\.example.com`, "c"},           // the label .example
		{`example.com\.`, ""},
		{`example.com\`, ""},
		{`example.com\25`, ""},
		{`example.com\999`, ""},
		{strings.Repeat("a", 63) + ".example.com", "a b c"},
		{strings.Repeat("a.", 121) + "example.com", "a b c"},    // 253 bytes
		{strings.Repeat("a.", 121) + "example.com.", "a b c"},   // and the dot
		{strings.Repeat("a.", 122) + "example.com", ""},         // too long
		{strings.Repeat(`\097.`, 121) + "example.com", "a b c"}, // long only as written
		{strings.Repeat(`\097.`, 122) + "example.com", ""},      // too long
		{"\xff\x00.example.com", "a b c"},
	} {
		if got := which(ix, tt.name); got != tt.want {
			t.Errorf("Match(%q): held by %q, want %q", tt.name, got, tt.want)
		}
	}
	for name, want := range map[string]bool{
		"example.com": true, "out.example.com": true, "stream.forbidden.test": true,
		"example.org": false, "below.example.net": false, "x.only.example.net": false, "": false,
	} {
		if got := ix.Match(name).Claimed(); got != want {
			t.Errorf("Match(%q).Claimed() = %v, want %v", name, got, want)
		}
	}
}

func TestEmptyIndex(t *testing.T) {
	for _, ix := range []*Index{NewBuilder(nil).Build(), NewBuilder([]string{"a"}).Build()} {
		if m := ix.Match("example.com"); m.Claimed() || len(m.Lists()) > 0 {
			t.Errorf("an empty index holds example.com")
		}
	}
	if (Match{}).Listed(Selection{}) {
		t.Error("the zero match is listed")
	}
}

func TestSelection(t *testing.T) {
	one := build([]string{"gfwlist", "mine"}, []entry.Entry{{Kind: entry.Suffix, Text: "a.test"}}, []entry.Entry{{Kind: entry.Suffix, Text: "b.test"}})
	s, err := one.Selection("mine")
	if err != nil {
		t.Fatal(err)
	}
	if one.Match("a.test").Listed(s) || !one.Match("b.test").Listed(s) {
		t.Error("selection mine: want b.test only")
	}
	// The same selection on an index in which the lists have other numbers.
	two := build([]string{"mine", "other"}, []entry.Entry{{Kind: entry.Suffix, Text: "c.test"}}, []entry.Entry{{Kind: entry.Suffix, Text: "b.test"}})
	if two.Match("b.test").Listed(s) || !two.Match("c.test").Listed(s) {
		t.Error("selection mine in another index: want c.test only")
	}
	for name, want := range map[string]string{
		"gfwlst": `list "gfwlst": unknown; the nearest is "gfwlist"`,
		"banana": `unknown list "banana": want one of gfwlist, mine`,
	} {
		if _, err := one.Selection("mine", name); err == nil || err.Error() != want {
			t.Errorf("Selection(%q): %v, want %s", name, err, want)
		}
	}
	if _, err := NewBuilder(nil).Build().Selection("x"); err == nil || err.Error() != `list "x": unknown; there are no lists` {
		t.Errorf("Selection without lists: %v", err)
	}
}

// randomIndex returns an index of lists whose names overlap, and their model.
func randomIndex(r *rand.Rand, lists int) (*Index, naive) {
	n := naive{make([][]entry.Entry, lists)}
	names := make([]string, lists)
	for i := range lists {
		names[i] = fmt.Sprint("list", i)
		for range r.IntN(30) {
			e := entry.Entry{Kind: entry.Kind(r.IntN(5)), Exception: entry.Exception(max(0, r.IntN(7)-3)), Text: randomName(r)}
			switch e.Kind {
			case entry.Keyword:
				e.Text = e.Text[:1+r.IntN(len(e.Text))]
				if entry.CheckKeyword(e.Text) != "" {
					continue
				}
			case entry.Regexp:
				e.Text = []string{`^a+\.`, `b\.(com|net)$`, `[ab]c`, `(ab|ba)`, `c{2}`, `x?`}[r.IntN(6)]
				if e.Exception == entry.Specific {
					e.Exception = entry.Always
				}
			}
			n.lists[i] = append(n.lists[i], e)
		}
	}
	return build(names, n.lists...), n
}

func randomName(r *rand.Rand) string {
	labels := make([]string, 1+r.IntN(4))
	for i := range labels {
		b := make([]byte, 1+r.IntN(3)*r.IntN(6))
		for k := range b {
			b[k] = "abc"[r.IntN(3)]
		}
		labels[i] = string(b)
	}
	return strings.Join(append(labels, []string{"com", "net"}[r.IntN(2)]), ".")
}

func checkAgainst(t *testing.T, ix *Index, n naive, name string) {
	t.Helper()
	m := ix.Match(name)
	listed, claimed := n.match(name)
	for i, want := range listed {
		s, err := ix.Selection(ix.Names()[i])
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Listed(s); got != want {
			t.Fatalf("list %d, name %q: listed %v, want %v; entries %q", i, name, got, want, n.lists[i])
		}
	}
	if m.Claimed() != claimed {
		t.Fatalf("name %q: claimed %v, want %v", name, m.Claimed(), claimed)
	}
}

func TestMatchRandom(t *testing.T) {
	rounds := uint64(300)
	if raceDetector { // this test has one goroutine, and the model is slow
		rounds = 10
	}
	for i := range rounds {
		r := rand.New(rand.NewPCG(i, 0))
		ix, n := randomIndex(r, []int{1, 3, 64, 65, 130}[i%5])
		for range 60 {
			checkAgainst(t, ix, n, randomName(r))
		}
	}
}

func TestRebuild(t *testing.T) {
	for i := range uint64(100) {
		r := rand.New(rand.NewPCG(i, 1))
		ix, n := randomIndex(r, 5)
		// Lists 4 and 1 are copied, in other places; list 2 is new.
		part := ix.NewPart()
		for _, e := range n.lists[2] {
			part.Add(e)
		}
		next := ix.Rebuild([]string{"list4", "new", "list1"}, []*Part{nil, part, nil}, nil)
		for range 60 {
			checkAgainst(t, next, naive{[][]entry.Entry{n.lists[4], n.lists[2], n.lists[1]}}, randomName(r))
		}
	}
}

// raceDetector is set if the race detector runs: sync.Pool then drops at random.
var raceDetector bool

func TestMatchAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool keeps nothing for sure under the race detector")
	}
	ix, _ := randomIndex(rand.New(rand.NewPCG(7, 7)), 70)
	s, _ := ix.Selection("list3")
	for _, name := range []string{"aab.c.com.", "AB.c.NET", `a\.b\097.com`, "nothing.test"} {
		if n := testing.AllocsPerRun(200, func() { ix.Match(name).Listed(s) }); n != 0 {
			t.Errorf("Match(%q) allocates %v times", name, n)
		}
	}
}

// TestRecall: what is remembered of a name is what Match says of it, whatever was looked up
// before, and also while others look names up.
func TestRecall(t *testing.T) {
	for i := range uint64(8) {
		r := rand.New(rand.NewPCG(i, 3))
		ix, _ := randomIndex(r, []int{1, 3, 64, 130}[i%4])
		names := make([]string, 600) // more than are remembered
		for j := range names {
			names[j] = randomName(r)
		}
		var all sync.WaitGroup
		for seed := range uint64(4) {
			all.Go(func() {
				r := rand.New(rand.NewPCG(i, seed))
				for range 300 {
					name := names[r.IntN(len(names))]
					want := ix.Match(name)
					for range 2 {
						if got := *ix.Recall(strings.Clone(name)); got != want {
							t.Errorf("Recall(%q) = %+v, Match says %+v", name, got, want)
						}
					}
				}
			})
		}
		all.Wait()
		if n := testing.AllocsPerRun(100, func() { ix.Recall(names[0]) }); n != 0 {
			t.Errorf("a name that was looked up just now allocates %v times", n)
		}
	}
}

func TestManyValues(t *testing.T) {
	// More than 65,535 different sets of lists: value ids of three bytes.
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprint("l", i)
	}
	b := NewBuilder(names)
	for n := range 70000 {
		for i := range names {
			if n>>i&1 != 0 {
				b.Add(i, entry.Entry{Kind: entry.Full, Text: fmt.Sprintf("n%d.test", n)})
			}
		}
	}
	ix := b.Build()
	for _, n := range []int{1, 255, 256, 65535, 65536, 69999} {
		m := ix.Match(fmt.Sprintf("n%d.test", n))
		var want []string
		for i := range names {
			if n>>i&1 != 0 {
				want = append(want, names[i])
			}
		}
		if got := m.Lists(); !slices.Equal(got, want) {
			t.Errorf("n%d.test: %v, want %v", n, got, want)
		}
	}
	if ix.names.width != 3 {
		t.Errorf("values of %d bytes, want 3", ix.names.width)
	}
}

// TestHash counts collisions in 32 bits of the hashes of names that differ little,
// for the bits that choose the bucket and for the others.
func TestHash(t *testing.T) {
	const n = 1 << 17
	s := newSeed()
	for _, shift := range []int{0, 16, 32} {
		seen := make(map[uint32]bool, n)
		hit := 0
		for i := range n {
			var f folded
			f.fold(fmt.Sprintf("host%d.example.com", i))
			h, ok := s.name(&f)
			if !ok {
				t.Fatal("no hash")
			}
			if k := uint32(h >> shift); seen[k] {
				hit++
			} else {
				seen[k] = true
			}
		}
		// n^2 / 2^33 = 2 are expected; 16 would be a miracle.
		if hit > 16 {
			t.Errorf("bits from %d: %d collisions among %d names, expected about 2", shift, hit, n)
		}
	}
}

func TestMaxLists(t *testing.T) {
	names := make([]string, MaxLists)
	for i := range names {
		names[i] = fmt.Sprint("l", i)
	}
	b := NewBuilder(names)
	b.Add(MaxLists-1, entry.Entry{Kind: entry.Suffix, Text: "last.test"})
	ix := b.Build()
	if got := which(ix, "a.last.test"); got != names[MaxLists-1] {
		t.Errorf("the last of %d lists: %q", MaxLists, got)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), "a.b.com.")
	f.Add(uint64(2), `A\.b.net`)
	f.Add(uint64(3), "\xff..\\")
	f.Fuzz(func(t *testing.T, n uint64, name string) {
		ix, model := randomIndex(rand.New(rand.NewPCG(n, 2)), 3)
		m := ix.Match(name)
		if strings.ContainsAny(name, "\\\x00\n") || strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return // the model knows no escapes; nothing may crash
		}
		trimmed := strings.TrimSuffix(name, ".")
		if trimmed == "" || len(trimmed) > entry.MaxName || strings.Contains("."+trimmed+".", "..") {
			if m.Claimed() {
				t.Fatalf("%q is no name and claimed", name)
			}
			return
		}
		checkAgainst(t, ix, model, name)
	})
}

func TestManyPatterns(t *testing.T) {
	// Thousands of keywords and expressions; each name meets few of them.
	b := NewBuilder([]string{"l"})
	for i := range 5000 {
		b.Add(0, entry.Entry{Kind: entry.Keyword, Text: fmt.Sprintf("key%dword", i)})
		b.Add(0, entry.Entry{Kind: entry.Regexp, Text: fmt.Sprintf(`^r%d[0-9]\.example\.(com|net)$`, i)})
	}
	ix := b.Build()
	for name, want := range map[string]bool{
		"a.key4999word.test": true, "key12wor.d.test": false, "r49997.example.net": true, "r4999x.example.net": false,
	} {
		if got := which(ix, name) != ""; got != want {
			t.Errorf("%s: held %v, want %v", name, got, want)
		}
	}
}

func TestBuilderIgnoresWhatIsNoEntry(t *testing.T) {
	ix := build([]string{"l"}, []entry.Entry{
		{Kind: entry.Suffix, Text: ""}, {Kind: entry.Suffix, Text: "a..b"}, {Kind: entry.Full, Text: strings.Repeat("a", 300)},
		{Kind: entry.Keyword, Text: ""}, {Kind: entry.Keyword, Text: "a b"}, {Kind: entry.Regexp, Text: "("}, {Kind: entry.Below, Text: "good.test"},
	})
	if ix.Len() != 1 || which(ix, "x.good.test") != "l" {
		t.Errorf("%d names", ix.Len())
	}
}

// TestSelectionAfterRebuild: an index over the same lists shares their numbers, so that
// selections need no translation.
func TestSelectionAfterRebuild(t *testing.T) {
	ix := build([]string{"a", "b"}, []entry.Entry{{Kind: entry.Suffix, Text: "a.test"}}, []entry.Entry{{Kind: entry.Suffix, Text: "b.test"}})
	s, err := ix.Selection("b")
	if err != nil {
		t.Fatal(err)
	}
	next := ix.Rebuild([]string{"a", "b"}, []*Part{ix.NewPart(), nil}, nil)
	if m := next.Match("b.test"); s.lists != next.lists || !m.Listed(s) || next.Match("a.test").Claimed() {
		t.Errorf("shared numbers %v, %v", s.lists == next.lists, m.Lists())
	}
}
