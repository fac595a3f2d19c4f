package nft

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Table is a whole nft table of family inet as a value: what Desired wants and
// Kernel.Apply makes so. It is immutable and may be shared between goroutines.
type Table struct {
	Name   string
	sets   []set
	chains []chain
}

// set is an nft set of addresses: either of learned ones, whose elements the value
// does not hold, or a static one of ranges.
type set struct {
	name    string
	family  gateway.Family
	learned bool
	size    int     // of a learned set, in elements; 0 is without a limit
	ranges  []Range // of a static one: disjoint, sorted
	base    bool    // static: the rules are wrong without it, so it is filled before they are made
}

// chain is an nft chain. A base chain has a kind, a hook and a priority.
type chain struct {
	name     string
	kind     string // filter, nat, route; "" is a chain that is only jumped to
	hook     string
	priority int32
	rules    []rule
}

// hookNumbers are the kernel's NF_INET_* hooks.
var hookNumbers = map[string]uint32{"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}

// The priorities of hooks as the kernel (NF_IP_PRI_*) and nft(8) know them.
const (
	priorityMangle = -150
	priorityDstNAT = -100
	priorityFilter = 0
	prioritySrcNAT = 100
)

// String prints the table as `nft list table inet nameroute` prints the kernel's
// right after it was made: without learned addresses, all counters zero.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", t.Name)
	for i, s := range t.sets {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.print(&b)
	}
	for i, c := range t.chains {
		if i > 0 || len(t.sets) > 0 {
			b.WriteByte('\n')
		}
		c.print(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

func (s *set) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n", s.name, typeName(s.family))
	if s.learned {
		if s.size > 0 {
			fmt.Fprintf(b, "\t\tsize %d\n", s.size)
		}
		b.WriteString("\t\tflags timeout\n\t}\n")
		return
	}
	b.WriteString("\t\tflags interval\n")
	if len(s.ranges) > 0 {
		// nft prints two IPv4 elements in a line, one of IPv6.
		perLine := 2
		if s.family == gateway.V6 {
			perLine = 1
		}
		b.WriteString("\t\telements = { ")
		for i, r := range s.ranges {
			switch {
			case i == 0:
			case i%perLine == 0:
				b.WriteString(",\n\t\t\t     ")
			default:
				b.WriteString(", ")
			}
			b.WriteString(r.String())
		}
		b.WriteString(" }\n")
	}
	b.WriteString("\t}\n")
}

func (c *chain) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.name)
	if c.kind != "" {
		fmt.Fprintf(b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.kind, c.hook, priorityName(c.priority))
	}
	for _, r := range c.rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
}

func typeName(f gateway.Family) string {
	if f == gateway.V4 {
		return "ipv4_addr"
	}
	return "ipv6_addr"
}

// priorityName prints a priority by the name that nft(8) gives it.
func priorityName(p int32) string {
	switch p {
	case priorityMangle:
		return "mangle"
	case priorityDstNAT:
		return "dstnat"
	case priorityDstNAT + 1:
		return "dstnat + 1"
	case priorityFilter:
		return "filter"
	case prioritySrcNAT:
		return "srcnat"
	case prioritySrcNAT - 1:
		return "srcnat - 1"
	}
	return fmt.Sprint(p)
}
