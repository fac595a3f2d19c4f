package nft

import (
	"errors"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// TableExists reports whether a table of family inet, or its replica, is in the kernel,
// whichever program made it. It needs no privilege and changes nothing.
func TableExists(name string) (bool, error) {
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	for _, name := range []string{name, replicaOf(name)} {
		if t, err := r.table(unix.NFPROTO_INET, name); err != nil || t.exists {
			return t.exists, err
		}
	}
	return false, nil
}

// Counter counts packets and their bytes.
type Counter struct {
	Packets, Bytes uint64
}

// Add returns the sum of two counters.
func (c Counter) Add(more Counter) Counter {
	return Counter{c.Packets + more.Packets, c.Bytes + more.Bytes}
}

// RuleCounter is what one rule of a table has counted.
type RuleCounter struct {
	Chain, Comment string
	Counter
}

// ReadCounters reads the counters of the rules of a table and of its replica, whichever program
// owns them. Without a table there are none.
func ReadCounters(table string) ([]RuleCounter, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	var out []RuleCounter
	for _, name := range []string{table, replicaOf(table)} {
		rules, err := r.rules(unix.NFPROTO_INET, name)
		if err != nil && !errors.Is(err, ErrNoSet) {
			return nil, err
		}
		for _, rule := range rules {
			packets, bytes := rule.counters()
			out = append(out, RuleCounter{rule.chain, rule.commentText(), Counter{packets, bytes}})
		}
	}
	return out, nil
}

// commentText returns a rule's comment, "" where it has none.
func (s ruleState) commentText() string {
	for data := s.comment; len(data) >= 2 && len(data) >= 2+int(data[1]); data = data[2+int(data[1]):] {
		if data[0] == byte(userdata.TypeComment) {
			return cString(data[2 : 2+int(data[1])])
		}
	}
	return ""
}
