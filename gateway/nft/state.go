package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// tableState, setState, chainState and ruleState are what the kernel has.
type tableState struct {
	exists bool
	flags  uint32
	owner  uint32 // port of the owning socket; 0 is none
}

// owned reports whether a living process owns the table. The kernel takes the flag
// away from a table whose owner died.
func (t tableState) owned() bool { return t.flags&flagOwner != 0 }

type setState struct {
	name    string
	flags   uint32
	keyType uint32
	keyLen  uint32
	size    int
	timeout uint64
}

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

// set reads one set; ErrNoSet if it is not there.
func (r *reader) set(ref SetRef) (setState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETSET, 0, ref.nfproto(), func(b *batch) {
		b.text(unix.NFTA_SET_TABLE, ref.Table)
		b.text(unix.NFTA_SET_NAME, ref.Name)
	})
	if errors.Is(err, unix.ENOENT) {
		return setState{}, ErrNoSet
	}
	if err != nil {
		return setState{}, fmt.Errorf("read set: %w", err)
	}
	if len(msgs) == 0 {
		return setState{}, ErrNoSet
	}
	return parseSet(msgs[0]), nil
}

// sets reads all sets of a table but anonymous ones, which belong to rules.
func (r *reader) sets(family byte, table string) ([]setState, error) {
	msgs, err := r.get(unix.NFT_MSG_GETSET, unix.NLM_F_DUMP, family, func(b *batch) { b.text(unix.NFTA_SET_TABLE, table) })
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoSet
	}
	if err != nil {
		return nil, fmt.Errorf("read sets: %w", err)
	}
	var sets []setState
	for _, m := range msgs {
		if s := parseSet(m); s.flags&unix.NFT_SET_ANONYMOUS == 0 {
			sets = append(sets, s)
		}
	}
	return sets, nil
}

func parseSet(m message) (s setState) {
	for _, a := range payload(m) {
		switch a.typ {
		case unix.NFTA_SET_NAME:
			s.name = cString(a.data)
		case unix.NFTA_SET_FLAGS:
			s.flags = be32(a.data)
		case unix.NFTA_SET_KEY_TYPE:
			s.keyType = be32(a.data)
		case unix.NFTA_SET_KEY_LEN:
			s.keyLen = be32(a.data)
		case unix.NFTA_SET_TIMEOUT:
			s.timeout = be64(a.data)
		case unix.NFTA_SET_DESC:
			for _, d := range attrs(a.data) {
				if d.typ == unix.NFTA_SET_DESC_SIZE {
					s.size = int(be32(d.data))
				}
			}
		}
	}
	return s
}

// The numbers that nft(8) gives the types of keys (enum datatypes in datatype.h).
const (
	typeIPv4 = 7
	typeIPv6 = 8
)

func keyType(f gateway.Family) (typ, length uint32) {
	if f == gateway.V4 {
		return typeIPv4, 4
	}
	return typeIPv6, 16
}

// learnable says what keeps addresses of a family from being learned into a set.
func (s setState) learnable(f gateway.Family) error {
	var problems []error
	if typ, length := keyType(f); s.keyType != typ || s.keyLen != length {
		problems = append(problems, fmt.Errorf("its type is not %s", typeName(f)))
	}
	if s.flags&unix.NFT_SET_MAP != 0 {
		problems = append(problems, errors.New("it is a map"))
	}
	if s.flags&unix.NFT_SET_TIMEOUT == 0 {
		problems = append(problems, errors.New("it has no `flags timeout`, without which elements cannot end"))
	}
	if s.flags&unix.NFT_SET_INTERVAL != 0 {
		problems = append(problems, errors.New("it has `flags interval`: single addresses need a set without"))
	}
	if s.flags&unix.NFT_SET_CONSTANT != 0 {
		problems = append(problems, errors.New("it has `flags constant`"))
	}
	return errors.Join(problems...)
}

// elements dumps a set. It may miss elements for some milliseconds after many were
// added, without the kernel saying so: read first, load later.
func (r *reader) elements(ref SetRef) ([]element, error) {
	msgs, err := r.get(unix.NFT_MSG_GETSETELEM, unix.NLM_F_DUMP, ref.nfproto(), func(b *batch) {
		b.text(unix.NFTA_SET_ELEM_LIST_TABLE, ref.Table)
		b.text(unix.NFTA_SET_ELEM_LIST_SET, ref.Name)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoSet
	}
	if err != nil {
		return nil, fmt.Errorf("read elements of set %s: %w", ref, err)
	}
	var elems []element
	for _, m := range msgs {
		if e, ok := parseEvent(unix.NFT_MSG_NEWSETELEM, m.data); ok {
			elems = append(elems, e.elems...)
		}
	}
	return elems, nil
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
	ranges map[string][]Range // of interval sets of addresses
	chains []chainState
	rules  map[string][]ruleState // by chain
}

// readState reads our table.
func (r *reader) readState(name string) (*state, error) {
	s, err := r.readFrame(name)
	if err != nil {
		return nil, err
	}
	return s, r.readRanges(name, s)
}

// readFrame reads our table but for what its interval sets hold.
func (r *reader) readFrame(name string) (*state, error) {
	s := &state{ranges: map[string][]Range{}, rules: map[string][]ruleState{}}
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
// dumps, those of elements are not broken off by the commits of others.
func (r *reader) readRanges(name string, s *state) error {
	for _, set := range s.sets {
		if set.flags&unix.NFT_SET_INTERVAL == 0 {
			continue
		}
		elems, err := r.elements(SetRef{"inet", name, set.name})
		if err != nil {
			return err
		}
		s.ranges[set.name] = ranges(elems)
	}
	return nil
}

// ranges puts the elements of an interval set together: each start lasts until
// the next element, or to the last address. Ends without a start (nft adds one at
// the first address) mean nothing.
func ranges(elems []element) []Range {
	slices.SortFunc(elems, func(a, b element) int {
		if c := a.key.Compare(b.key); c != 0 {
			return c
		}
		if a.end != b.end && a.end {
			return -1
		}
		return 1
	})
	var out []Range
	for i, e := range elems {
		switch {
		case e.end:
		case i+1 < len(elems):
			out = append(out, Range{From: e.key, To: elems[i+1].key.Prev()})
		default:
			out = append(out, Range{From: e.key, To: lastOf(e.key)})
		}
	}
	return out
}
