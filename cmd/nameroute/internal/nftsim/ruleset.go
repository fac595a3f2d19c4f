// Package nftsim reads the nftables rules of other programs and tells what they do to a
// packet, as far as that can be known without sending one.
package nftsim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/nameroute/nameroute/gateway"
)

// Ruleset holds the rules of other programs: nft's, and those that iptables-nft writes.
type Ruleset struct {
	chains map[Key]*Chain
	bases  []*Chain // in the order in which packets pass them
	sets   map[Key][]nftables.SetElement
}

// Key names a chain or a set.
type Key struct {
	family nftables.TableFamily
	table  string
	name   string
}

// Chain is a chain with its rules.
type Chain struct {
	Key
	base  *nftables.Chain // nil unless it is a base chain
	rules []*nftables.Rule
}

// Name returns the name of the chain within its table.
func (k Key) Name() string { return k.name }

// String returns the name as nft(8) writes it: inet filter forward.
func (k Key) String() string {
	family := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet"}[k.family]
	return fmt.Sprintf("%s %s %s", family, k.table, k.name)
}

// Read reads the tables of the families ip, ip6 and inet, but for nameroute's own.
func Read() (*Ruleset, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	all, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nft list chains: %w", err)
	}
	rs := &Ruleset{chains: map[Key]*Chain{}, sets: map[Key][]nftables.SetElement{}}
	tables := map[Key]*nftables.Table{}
	for _, n := range all {
		if !slices.Contains([]nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet}, n.Table.Family) || isOurTable(n.Table) {
			continue
		}
		ch := &Chain{Key: Key{n.Table.Family, n.Table.Name, n.Name}}
		if ch.rules, err = c.GetRules(n.Table, n); err != nil {
			return nil, fmt.Errorf("nft list chain %s: %w", ch, err)
		}
		if n.Hooknum != nil && n.Priority != nil {
			ch.base = n
			rs.bases = append(rs.bases, ch)
		}
		rs.chains[ch.Key] = ch
		tables[Key{n.Table.Family, n.Table.Name, ""}] = n.Table
	}
	for key, t := range tables {
		if err := rs.readSets(c, key, t); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(rs.bases, func(a, b *Chain) int { return int(*a.base.Priority) - int(*b.base.Priority) })
	return rs, nil
}

// readSets reads a table's sets of single keys. Whether a lookup in any other set
// succeeds is not known.
func (rs *Ruleset) readSets(c *nftables.Conn, key Key, t *nftables.Table) error {
	sets, err := c.GetSets(t)
	if err != nil {
		return fmt.Errorf("nft list sets of %s: %w", key, err)
	}
	for _, s := range sets {
		if s.Interval || s.Concatenation || s.Dynamic || s.HasTimeout {
			continue
		}
		elems, err := c.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("nft list set %s %s: %w", key, s.Name, err)
		}
		key.name = s.Name
		rs.sets[key] = elems
	}
	return nil
}

// isOurTable reports whether a table is nameroute's, the replica included.
func isOurTable(t *nftables.Table) bool {
	return t.Family == nftables.TableFamilyINet && (t.Name == gateway.TableName || strings.HasPrefix(t.Name, gateway.TableName+"_"))
}

// Managers returns the programs that manage tables, each once; tables without one are
// nftables'.
func (rs *Ruleset) Managers() []string {
	var all []string
	for key := range rs.chains {
		name := rs.Manager(key)
		if name == "" {
			name = "nftables"
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Manager returns the program that manages the table of a chain, "" where there is none.
func (rs *Ruleset) Manager(k Key) string {
	has := func(prefix string) bool {
		for o := range rs.chains {
			if o.family == k.family && o.table == k.table && strings.HasPrefix(o.name, prefix) {
				return true
			}
		}
		return false
	}
	switch {
	case k.table == "firewalld":
		return "firewalld"
	case k.table == "fw4":
		return "fw4"
	case has("ufw"):
		return "ufw"
	case has("DOCKER"):
		return "Docker"
	case (k.family == nftables.TableFamilyIPv4 || k.family == nftables.TableFamilyIPv6) && strings.ToUpper(k.name) == k.name:
		return "iptables"
	}
	return ""
}
