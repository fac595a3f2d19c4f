package lists

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// ErrBudget is wrapped by the error of a list that would cost more memory or time for each
// query than one list, or all together, may.
var ErrBudget = errors.New("it costs too much")

// Budget bounds what lists may cost; see index.Cost. A list that is above it is not used: its
// last good content stays.
type Budget struct {
	List, All index.Cost
}

// Bounds of patterns. The largest published lists have some hundred regular expressions and
// inner wildcards, of 1 KiB each at most, and some hundred steps.
const (
	listPatterns, allPatterns = 32 << 20, 64 << 20 // bytes
	listSteps, allSteps       = 2048, 4096         // 0.1 ms a query for one list at worst
)

// DefaultBudget returns the bounds for this machine: half of its memory, or of that of the
// control group that the process is in.
var DefaultBudget = sync.OnceValue(func() Budget {
	half := machineMemory("/proc/meminfo") / 2
	return Budget{
		List: index.Cost{Memory: half, Patterns: min(half/2, listPatterns), Steps: listSteps},
		All:  index.Cost{Memory: half, Patterns: min(half/2, allPatterns), Steps: allSteps},
	}
})

// machineMemory returns the memory that the process can have, in bytes: the machine's, or the
// limit that the process was given.
func machineMemory(meminfo string) int64 {
	most := int64(1 << 30)
	if text, err := statefile.ReadFile(meminfo); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil && kib > 0 {
					most = kib << 10
				}
			}
		}
	}
	return min(most, debug.SetMemoryLimit(-1)) // reads it
}

// left returns what one more list may cost beside others.
func (b Budget) left(others index.Cost) index.Cost {
	return index.Cost{
		Memory:   min(b.List.Memory, b.All.Memory-others.Memory),
		Patterns: min(b.List.Patterns, b.All.Patterns-others.Patterns),
		Steps:    min(b.List.Steps, b.All.Steps-others.Steps),
	}
}

// meter measures the entries of a list and says when they are above a limit.
type meter struct {
	index.Meter
	limit   index.Cost
	entries int
}

// passed is called after each entry.
func (m *meter) passed(s *format.Sink) {
	m.entries++
	if err := m.check(); err != nil {
		s.Fail(err)
	}
}

// check returns an error as soon as the entries so far are above the limit.
func (m *meter) check() error {
	switch c := m.SoFar(); {
	case c.Patterns > m.limit.Patterns:
		return fmt.Errorf("%w: the first %d of its keywords, regular expressions and names with a * inside a label take about %s, above the bound of %s: "+
			"want whole names, *.name for the names below one, or fewer of them", ErrBudget, m.Patterns(), mebibytes(c.Patterns), mebibytes(m.limit.Patterns))
	case c.Memory > m.limit.Memory:
		return fmt.Errorf("%w: its first %d entries take about %s, above the bound of %s, which all lists together have on this machine: "+
			"want fewer entries, or more memory", ErrBudget, m.entries, mebibytes(c.Memory), mebibytes(m.limit.Memory))
	}
	return nil
}

// checkSteps returns an error if the entries cost every query too much.
func (m *meter) checkSteps(c index.Cost) error {
	if c.Steps <= m.limit.Steps {
		return nil
	}
	return fmt.Errorf("%w: its regular expressions take %d steps for every query, above the bound of %d: "+
		"want in each of them a text of at least 3 characters that the others do not have", ErrBudget, c.Steps, max(0, m.limit.Steps))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(max(0, n))/(1<<20)) }
