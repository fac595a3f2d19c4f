package nft

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Kernels from 5.12 to 6.8 know tables that one socket owns, which die with it, and
// none that outlive it. There our table stands twice: an ordinary one, which a flush
// by others takes, and an owned one of the same content, which our death takes. No
// single one of the two empties both, and whichever is missing is put back.
//
// All packets meet both tables, in the order in which the two were made. What they do
// bears that: a mark that the first sets is the mark that the second would set, or
// finds in the flow; a packet that the first drops never reaches the second, so that
// counters add up; of two chains of source NAT the first that decides wins; a segment
// size that was lowered is not lowered again.

// twinOf names the owned twin of a table: inet nameroute_replica.
func replicaOf(table string) string { return table + "_replica" }

// side is one of the tables that hold our content.
type side struct {
	name string
	have *state
	plan *plan
}

// flushed is the ordinary twin alone where others took it away and the owned one
// stands, else nil. It is put back before anything else is looked at: what the other
// one holds may take long to read, and until then our death would leave nothing.
func (k *Kernel) flushed(r *reader, t *Table) ([]side, error) {
	if k.features.Mode != ModeReplica {
		return nil, nil
	}
	ordinary, err := r.table(unix.NFPROTO_INET, t.Name)
	if err != nil || ordinary.exists {
		return nil, err
	}
	owned, err := r.table(unix.NFPROTO_INET, replicaOf(t.Name))
	if err != nil || !owned.exists || k.mayWrite(owned) != nil {
		return nil, err
	}
	have := &state{table: ordinary}
	p, err := diff(have, t, 0, k.sock.port(), false)
	return []side{{t.Name, have, p}}, err
}

// sides reads the tables that hold our content, all but the first skip, and computes
// what is to be done to each. A twin that nobody wants (somebody stored the whole
// ruleset and loaded it again, or the kernel got better) is deleted.
func (k *Kernel) sides(r *reader, t *Table, replace bool, skip int) ([]side, error) {
	names, flags := []string{t.Name}, []uint32{0}
	switch k.features.Mode {
	case ModeOwned:
		flags[0] = flagOwner | flagPersist
	case ModeReplica:
		names, flags = append(names, replicaOf(t.Name)), append(flags, flagOwner)
	}
	var sides []side
	for i, name := range names {
		if i < skip {
			continue
		}
		have, err := r.readFrame(name)
		if err != nil {
			return nil, err
		}
		if err := k.mayWrite(have.table); err != nil {
			return nil, err
		}
		var p *plan
		port := k.sock.port()
		k.aside(func() {
			if err = r.readRanges(name, have); err == nil {
				p, err = diff(have, t, flags[i], port, replace)
			}
		})
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{name, have, p})
	}
	if k.features.Mode == ModeReplica {
		return sides, nil
	}
	twin, err := r.table(unix.NFPROTO_INET, replicaOf(t.Name))
	if err != nil || !twin.exists {
		return sides, err
	}
	return append(sides, side{replicaOf(t.Name), &state{table: twin}, &plan{drop: true}}), k.mayWrite(twin)
}

// mayWrite is an error for a table that another socket owns.
func (k *Kernel) mayWrite(t tableState) error {
	if t.owned() && t.owner != k.sock.port() {
		return fmt.Errorf("%w (netlink port %d)", ErrOwned, t.owner)
	}
	return nil
}

// refs are the sets that hold the elements of a learned set of the table.
func (k *Kernel) refs(t *Table, name string) []SetRef {
	refs := []SetRef{t.ref(name)}
	if k.features.Mode == ModeReplica {
		refs = append(refs, SetRef{Family: "inet", Table: replicaOf(t.Name), Name: name})
	}
	return refs
}
