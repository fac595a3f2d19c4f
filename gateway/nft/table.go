package nft

import (
	"fmt"
	"math"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// Table is an nft table of family inet as a value, which an Application makes the
// kernel's equal to. It is immutable and may be shared between goroutines.
type Table struct {
	Name   string
	Sets   []Set
	Chains []Chain
}

// Set is an nft set of addresses: a static one of ranges, or one of elements with
// timeouts, which the value does not hold.
type Set struct {
	Name     string
	Family   gateway.Family
	Timeout  bool         // its elements have timeouts
	Size     int          // of a set with timeouts, in elements; 0 is without a limit
	Ranges   []span.Range // of a static set: disjoint, sorted
	Required bool         // static: the rules are wrong without it, so it is filled before they are made
}

// Chain is an nft chain. A base chain has a type, a hook and a priority.
type Chain struct {
	Name     string
	Type     string // filter, nat, route; "" is a chain that is only jumped to
	Hook     string
	Priority int32
	Rules    []rule.Rule
}

// hookNumbers are the kernel's NF_INET_* hooks.
var hookNumbers = map[string]uint32{"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}

// The priorities of hooks as the kernel (NF_IP_PRI_*) and nft(8) know them.
const (
	PriorityConntrack = -200
	PriorityMangle    = -150
	PriorityDstNAT    = -100
	PriorityFilter    = 0
	PrioritySrcNAT    = 100
	PriorityLast      = math.MaxInt32
	PriorityFirstNAT  = PriorityConntrack + 1 // the kernel takes no chain of type nat that is earlier
)

// String prints the table as `nft list table` prints the kernel's right after it was
// made: without elements that have timeouts, all counters zero.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", t.Name)
	for i, s := range t.Sets {
		if i > 0 {
			b.WriteByte('\n')
		}
		s.print(&b)
	}
	for i, c := range t.Chains {
		if i > 0 || len(t.Sets) > 0 {
			b.WriteByte('\n')
		}
		c.print(&b)
	}
	b.WriteString("}\n")
	return b.String()
}

func (s *Set) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tset %s {\n\t\ttype %s\n", s.Name, typeName(s.Family))
	if s.Timeout {
		if s.Size > 0 {
			fmt.Fprintf(b, "\t\tsize %d\n", s.Size)
		}
		b.WriteString("\t\tflags timeout\n\t}\n")
		return
	}
	b.WriteString("\t\tflags interval\n")
	if len(s.Ranges) > 0 {
		// nft prints two IPv4 elements in a line, one of IPv6.
		perLine := 2
		if s.Family == gateway.V6 {
			perLine = 1
		}
		b.WriteString("\t\telements = { ")
		for i, r := range s.Ranges {
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

func (c *Chain) print(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.Name)
	if c.Type != "" {
		fmt.Fprintf(b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.Type, c.Hook, priorityName(c.Priority))
	}
	for _, r := range c.Rules {
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
	case PriorityMangle:
		return "mangle"
	case PriorityDstNAT:
		return "dstnat"
	case PriorityFilter:
		return "filter"
	case PrioritySrcNAT:
		return "srcnat"
	case PrioritySrcNAT - 1:
		return "srcnat - 1"
	}
	return fmt.Sprint(p)
}
