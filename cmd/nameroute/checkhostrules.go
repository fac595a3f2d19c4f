package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/nameroute/nameroute/gateway"
)

// ruleset is everybody else's firewall, as far as nftables has it: what iptables
// writes today stands there too.
type ruleset struct {
	chains map[chainKey]*chain
	bases  []*chain // in the order in which packets meet them
	sets   map[chainKey][]nftables.SetElement
}

// chainKey names a chain, or a set, of one table.
type chainKey struct {
	family nftables.TableFamily
	table  string
	name   string
}

type chain struct {
	chainKey
	base  *nftables.Chain
	rules []*nftables.Rule
}

// String names a chain as nft(8) does.
func (k chainKey) String() string {
	family := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyIPv6: "ip6", nftables.TableFamilyINet: "inet"}[k.family]
	return fmt.Sprintf("%s %s %s", family, k.table, k.name)
}

// readRuleset reads the tables for IPv4 and IPv6 but ours.
func readRuleset() (*ruleset, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	all, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("nft list chains: %w", err)
	}
	rs := &ruleset{chains: map[chainKey]*chain{}, sets: map[chainKey][]nftables.SetElement{}}
	tables := map[chainKey]*nftables.Table{}
	for _, n := range all {
		if !slices.Contains([]nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet}, n.Table.Family) || isOurTable(n.Table) {
			continue
		}
		ch := &chain{chainKey: chainKey{n.Table.Family, n.Table.Name, n.Name}}
		if ch.rules, err = c.GetRules(n.Table, n); err != nil {
			return nil, fmt.Errorf("nft list chain %s: %w", ch, err)
		}
		if n.Hooknum != nil && n.Priority != nil {
			ch.base = n
			rs.bases = append(rs.bases, ch)
		}
		rs.chains[ch.chainKey] = ch
		tables[chainKey{n.Table.Family, n.Table.Name, ""}] = n.Table
	}
	for key, t := range tables {
		if err := rs.readSets(c, key, t); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(rs.bases, func(a, b *chain) int { return int(*a.base.Priority) - int(*b.base.Priority) })
	return rs, nil
}

// readSets reads what a rule may look into: sets of single keys. A rule with another
// set counts as one of which nothing is known.
func (rs *ruleset) readSets(c *nftables.Conn, key chainKey, t *nftables.Table) error {
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

func isOurTable(t *nftables.Table) bool {
	return t.Family == nftables.TableFamilyINet && (t.Name == gateway.TableName || strings.HasPrefix(t.Name, gateway.TableName+"_"))
}

// manager names who keeps a table, for the remedy; "" is somebody who writes rules by hand.
func (rs *ruleset) manager(k chainKey) string {
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
