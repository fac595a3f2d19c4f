package nft

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// SetRef names an nft set as nft(8) does: family, table, name.
type SetRef struct {
	Family string // of the table: inet, ip, ip6, arp, bridge, netdev
	Table  string
	Name   string
}

// SetPair names two sets that addresses are learned into, one for each family.
type SetPair struct {
	Set4, Set6 SetRef
}

func (r SetRef) String() string { return r.Family + " " + r.Table + " " + r.Name }

// tableFamilies are the kernel's NFPROTO_* of the families of tables.
var tableFamilies = map[string]byte{
	"inet": unix.NFPROTO_INET, "ip": unix.NFPROTO_IPV4, "ip6": unix.NFPROTO_IPV6,
	"arp": unix.NFPROTO_ARP, "bridge": unix.NFPROTO_BRIDGE, "netdev": unix.NFPROTO_NETDEV,
}

func (r SetRef) nfproto() byte { return tableFamilies[r.Family] }

// Of returns the pair's set for an address, which must not be an IPv4-mapped one.
func (p *SetPair) Of(a netip.Addr) *SetRef {
	if a.Is4() {
		return &p.Set4
	}
	return &p.Set6
}

// CheckSets checks that addresses can be learned into a pair of sets: both are named,
// exist, have the right type and elements that can expire, and are in no table that
// another process owns. It reports all problems at once, and changes nothing.
func CheckSets(pair SetPair) error {
	r, err := openReader()
	if err != nil {
		return err
	}
	defer r.close()
	return checkSets(r, pair, func(uint32) bool { return false })
}

// checkSets is CheckSets; mine tells which owners' ports are our own.
func checkSets(r *reader, pair SetPair, mine func(port uint32) bool) error {
	var problems []error
	for _, f := range gateway.Families {
		ref := pair.Set4
		if f == gateway.V6 {
			ref = pair.Set6
		}
		if ref == (SetRef{}) {
			problems = append(problems, fmt.Errorf("no set for IPv%d addresses: a route needs one for each family", f))
			continue
		}
		if err := checkSet(r, ref, f, mine); err != nil {
			problems = append(problems, fmt.Errorf("set %s: %w", ref, err))
		}
	}
	return errors.Join(problems...)
}

func checkSet(r *reader, ref SetRef, f gateway.Family, mine func(uint32) bool) error {
	if ref.nfproto() == 0 {
		return fmt.Errorf("unknown table family %q: want inet, ip, ip6, bridge or netdev", ref.Family)
	}
	s, err := r.set(ref)
	if err != nil {
		return err
	}
	if err := s.learnable(f); err != nil {
		return err
	}
	t, err := r.table(ref.nfproto(), ref.Table)
	if err != nil {
		return err
	}
	if t.owned() && !mine(t.owner) {
		return fmt.Errorf("the table is owned by another process (netlink port %d), which alone may change it", t.owner)
	}
	return nil
}
