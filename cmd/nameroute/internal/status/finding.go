package status

import (
	"fmt"
	"strings"
	"time"
)

// State is what is known of a thing.
type State string

// The states. Unknown is what nothing has looked at, or what no look can tell yet.
const (
	Good    State = "good"
	Bad     State = "bad"
	Unknown State = "unknown"
)

// Level is how a finding is printed. Of what is bad, an error keeps something from working,
// and a warning does not, or not yet.
type Level string

// The levels.
const (
	LevelOK      Level = "ok"
	LevelUnknown Level = "unknown"
	LevelWarning Level = "warning"
	LevelError   Level = "error"
)

// Finding is one result of looking: what was looked at, what it is, and the remedy.
type Finding struct {
	State State  `json:"state"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
}

// Found returns a finding.
func Found(level Level, format string, args ...any) Finding {
	f := Finding{State: Bad, Level: level, Text: fmt.Sprintf(format, args...)}
	switch level {
	case LevelOK:
		f.State = Good
	case LevelUnknown:
		f.State = Unknown
	}
	return f
}

// String returns the finding as a line of a report.
func (f Finding) String() string {
	return fmt.Sprintf("%-7s  %s", f.Level, strings.ReplaceAll(f.Text, "\n", "\n         "))
}

// Checks are what a running process found when it looked at its box last.
type Checks struct {
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"` // those that are not good
}

// errors counts what keeps the gateway from working.
func (c *Checks) errors() int {
	n := 0
	if c == nil {
		return n
	}
	for _, f := range c.Findings {
		if f.Level == LevelError {
			n++
		}
	}
	return n
}
