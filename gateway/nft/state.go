package nft

import (
	"errors"
	"fmt"
	"math"

	"github.com/nameroute/nameroute/gateway/pkg/span"
	"golang.org/x/sys/unix"
)

// tableState, chainState, ruleState and setState describe what the kernel has.
type tableState struct {
	exists bool
	flags  uint32
	owner  uint32 // port of the owning socket; 0 is none
}

// owned reports whether a living process owns the table. The kernel takes the flag
// away from a table whose owner died.
func (t tableState) owned() bool { return t.flags&flagOwner != 0 }

type chainState struct {
	name     string
	kind     string
	hook     uint32
	base     bool
	priority int32
	policy   uint32
}

type ruleState struct {
	chain   string
	handle  uint64
	exprs   []byte
	comment []byte // the whole user data
}

// table reads a table's flags; one that is not there is no error.
func (r *reader) table(family byte, name string) (t tableState, err error) {
	msgs, err := r.get(unix.NFT_MSG_GETTABLE, 0, family, func(b *batch) { b.text(unix.NFTA_TABLE_NAME, name) })
	if errors.Is(err, unix.ENOENT) {
		return t, nil
	}
	if err != nil {
		return t, fmt.Errorf("read table %s: %w", name, err)
	}
	for _, m := range msgs {
		t.exists = true
		for _, a := range payload(m) {
			switch a.typ {
			case unix.NFTA_TABLE_FLAGS:
				t.flags = be32(a.data)
			case attrOwner:
				t.owner = be32(a.data)
			}
		}
	}
	return t, nil
}

// payload walks the attributes of a message behind its nfgenmsg.
func payload(m message) func(func(int, attribute) bool) {
	if len(m.data) < 4 {
		return attrs(nil)
	}
	return attrs(m.data[4:])
}

func (r *reader) chains(family byte, table string) ([]chainState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETCHAIN, unix.NLM_F_DUMP, family, nil)
	if err != nil {
		return nil, fmt.Errorf("read chains: %w", err)
	}
	var chains []chainState
	for _, m := range msgs {
		var c chainState
		ours := false
		for _, a := range payload(m) {
			switch a.typ {
			case unix.NFTA_CHAIN_TABLE:
				ours = cString(a.data) == table && m.data[0] == family
			case unix.NFTA_CHAIN_NAME:
				c.name = cString(a.data)
			case unix.NFTA_CHAIN_TYPE:
				c.kind = cString(a.data)
			case unix.NFTA_CHAIN_POLICY:
				c.policy = be32(a.data)
			case unix.NFTA_CHAIN_HOOK:
				c.base = true
				for _, h := range attrs(a.data) {
					switch h.typ {
					case unix.NFTA_HOOK_HOOKNUM:
						c.hook = be32(h.data)
					case unix.NFTA_HOOK_PRIORITY:
						c.priority = int32(be32(h.data))
					}
				}
			}
		}
		if ours {
			chains = append(chains, c)
		}
	}
	return chains, nil
}

func (r *reader) rules(family byte, table string) ([]ruleState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETRULE, unix.NLM_F_DUMP, family, func(b *batch) { b.text(unix.NFTA_RULE_TABLE, table) })
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoSet
	}
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	rules := make([]ruleState, 0, len(msgs))
	for _, m := range msgs {
		var s ruleState
		for _, a := range payload(m) {
			switch a.typ {
			case unix.NFTA_RULE_CHAIN:
				s.chain = cString(a.data)
			case unix.NFTA_RULE_HANDLE:
				s.handle = be64(a.data)
			case unix.NFTA_RULE_EXPRESSIONS:
				s.exprs = a.data
			case unix.NFTA_RULE_USERDATA:
				s.comment = a.data
			}
		}
		rules = append(rules, s)
	}
	return rules, nil
}

// state is all that the kernel has of our table but learned addresses.
type state struct {
	table  tableState
	sets   []setState
	ranges map[string][]span.Range // of interval sets of addresses
	chains []chainState
	rules  map[string][]ruleState // by chain
}

// readFrame reads our table but for what its interval sets hold.
func (r *reader) readFrame(name string) (*state, error) {
	s := &state{ranges: map[string][]span.Range{}, rules: map[string][]ruleState{}}
	var err error
	if s.table, err = r.table(unix.NFPROTO_INET, name); err != nil || !s.table.exists {
		return s, err
	}
	if s.chains, err = r.chains(unix.NFPROTO_INET, name); err != nil {
		return nil, err
	}
	rules, err := r.rules(unix.NFPROTO_INET, name)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		s.rules[rule.chain] = append(s.rules[rule.chain], rule)
	}
	if s.sets, err = r.sets(unix.NFPROTO_INET, name); err != nil {
		return nil, err
	}
	return s, nil
}

// readRanges reads what the interval sets hold, which may take long: unlike the other
// dumps, those of elements are not interrupted by commits.
func (r *reader) readRanges(name string, s *state) error {
	for _, set := range s.sets {
		if set.flags&unix.NFT_SET_INTERVAL == 0 {
			continue
		}
		elems, err := r.elements(SetRef{"inet", name, set.name}, math.MaxInt)
		if err != nil {
			return err
		}
		s.ranges[set.name] = ranges(elems)
	}
	return nil
}
