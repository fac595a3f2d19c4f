package index

import (
	"maps"
	"regexp/syntax"
	"slices"

	"github.com/nameroute/nameroute/lists/entry"
)

// minGuard is the length of a guard, in bytes, below which it is in too many names: it
// spares little.
const minGuard = 3

// groupSteps is how many steps the expressions with one guard may have together before the
// rest of them count as expressions without a guard: the guard may be in many names (".com").
const groupSteps = 256

// guarded is a regular expression with its guards: a name that it matches contains one.
type guarded struct {
	text   string
	guards []string // nil: it is run for every name
	steps  int      // instructions of its program
}

// guard chooses the guards of expressions. Of the texts that an expression requires it takes
// those that the fewest others require, and among equals the longest: of ad1.example.com to
// ad9999.example.com each is run for the names with its own number, not for all below
// example.com.
func guard(exprs []string) []guarded {
	all := make([]guarded, 0, len(exprs))
	sets := make([][][]string, 0, len(exprs))
	share := map[string]int{}
	for _, x := range exprs {
		steps := programSize(x)
		if steps == 0 {
			continue // it does not compile
		}
		candidates := entry.LiteralSets(x)
		for _, set := range candidates {
			for _, text := range set {
				share[text]++
			}
		}
		all, sets = append(all, guarded{text: x, steps: steps}), append(sets, candidates)
	}
	for i := range all {
		all[i].guards = rarest(sets[i], share)
	}
	return all
}

// rarest returns the set of texts that the fewest expressions share, nil if there is none.
func rarest(sets [][]string, share map[string]int) (best []string) {
	least := 0
	for _, set := range sets {
		if entry.Shortest(set) == 0 {
			continue
		}
		n := 0
		for _, text := range set {
			n = max(n, share[text])
		}
		if entry.Shortest(set) < minGuard {
			n = len(share) + len(sets) // only if there is no longer one
		}
		if best == nil || n < least || n == least && entry.Shortest(set) > entry.Shortest(best) {
			best, least = set, n
		}
	}
	return best
}

// stepsOfEveryName returns how many steps expressions may take for a name that none of them
// is about.
func stepsOfEveryName(all []guarded) (steps int) {
	groups := map[string]int{}
	for _, x := range all {
		if entry.Shortest(x.guards) < minGuard {
			steps += x.steps
			continue
		}
		for _, g := range x.guards {
			groups[g] += x.steps
		}
	}
	for n := range maps.Values(groups) {
		steps += max(0, n-groupSteps)
	}
	return steps
}

// programSize returns the number of instructions of an expression, or 0 if it does not
// compile.
func programSize(text string) int {
	re, err := syntax.Parse("(?i)"+text, syntax.Perl)
	if err != nil {
		return 0
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}

// Cost is what the entries of a list cost. The numbers of bytes are estimates of the peak
// while the index is built, on the high side.
type Cost struct {
	Memory   int64 // bytes in all
	Patterns int64 // bytes of these for keywords and regular expressions
	Steps    int   // of regular expressions, for a name that none of them is about
}

// Add returns the sum of two costs.
func (c Cost) Add(d Cost) Cost {
	return Cost{c.Memory + d.Memory, c.Patterns + d.Patterns, c.Steps + d.Steps}
}

// Bytes that entries take, as measured (BenchmarkPatterns).
const (
	nameMemory    = 32
	prefixMemory  = 64
	patternMemory = 1024 // besides those for the text and for steps
	byteMemory    = 128  // of a text that is searched for
	stepMemory    = 100
)

// Meter measures what entries cost while they are read.
type Meter struct {
	cost     Cost
	patterns map[string]bool // those seen, by their kind and text
	exprs    []string
}

// Entry adds an entry.
func (m *Meter) Entry(e entry.Entry) {
	if e.Kind != entry.Keyword && e.Kind != entry.Regexp {
		m.cost.Memory += nameMemory
		return
	}
	key := string(rune(e.Kind)) + e.Text
	if m.patterns[key] {
		return
	}
	if m.patterns == nil {
		m.patterns = map[string]bool{}
	}
	m.patterns[key] = true
	n := patternMemory + byteMemory*len(e.Text)
	if e.Kind == entry.Regexp {
		m.exprs = append(m.exprs, e.Text)
		n = patternMemory + 2*len(e.Text) + stepMemory*programSize(e.Text)
		for _, set := range entry.LiteralSets(e.Text) {
			for _, text := range set {
				n += byteMemory / 2 * len(text) // one of the sets is searched for
			}
		}
	}
	m.cost.Memory += int64(n)
	m.cost.Patterns += int64(n)
}

// Prefix adds an address or a prefix.
func (m *Meter) Prefix() { m.cost.Memory += prefixMemory }

// Patterns returns how many different keywords and regular expressions were added.
func (m *Meter) Patterns() int { return len(m.patterns) }

// SoFar returns the cost without its steps, which depend on what is still to come.
func (m *Meter) SoFar() Cost { return m.cost }

// Cost returns the cost of all that was added.
func (m *Meter) Cost() Cost {
	c := m.cost
	c.Steps = stepsOfEveryName(guard(slices.Clone(m.exprs)))
	return c
}
