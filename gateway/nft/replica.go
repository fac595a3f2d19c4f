package nft

import "golang.org/x/sys/unix"

// Kernels from 5.12 to 6.8 know tables that one socket owns, which die with it, and none
// that outlive it. There the table has a replica: the first is an ordinary one, which a
// flush by another program deletes, the second an owned one of the same content, which
// our death deletes. No single one of the two empties both, and the missing one is put
// back.
//
// All packets meet both tables, in the order in which the two were made, and the rules
// bear that: a mark that the first sets is the mark that the second would set, or finds
// in the flow; a packet that the first drops never reaches the second, so that counters
// add up; of two chains of source NAT the first that decides wins; an MSS that was lowered
// is not lowered again.

// replicaOf names the owned replica of a table.
func replicaOf(table string) string { return table + "_replica" }

// Replica returns the set of the replica that holds the same elements as a set of our
// table.
func (c *Conn) Replica(set SetRef) (SetRef, bool) {
	if c.features.Mode != ModeReplica || set.Family != "inet" || set.Table != c.table {
		return SetRef{}, false
	}
	set.Table = replicaOf(c.table)
	return set, true
}

// copies lists the tables that hold our content, and the flags that they are to have.
func (c *Conn) copies() []*tableCopy {
	switch c.features.Mode {
	case ModeOwned:
		return []*tableCopy{{name: c.table, flags: flagOwner | flagPersist}}
	case ModeReplica:
		return []*tableCopy{{name: c.table}, {name: replicaOf(c.table), flags: flagOwner}}
	}
	return []*tableCopy{{name: c.table}}
}

// onlyReplicaLeft reports whether another program deleted the ordinary table and the
// owned replica is still there.
func (c *Conn) onlyReplicaLeft(r *reader) (bool, error) {
	if c.features.Mode != ModeReplica {
		return false, nil
	}
	ordinary, err := r.table(unix.NFPROTO_INET, c.table)
	if err != nil || ordinary.exists {
		return false, err
	}
	owned, err := r.table(unix.NFPROTO_INET, replicaOf(c.table))
	return err == nil && owned.exists && c.mayWrite(owned) == nil, err
}

// staleReplica returns a replica that the mode has no use for, to be deleted: the whole
// ruleset was stored and loaded again, or the kernel was upgraded. nil: there is none.
func (c *Conn) staleReplica(r *reader) (*tableCopy, error) {
	if c.features.Mode == ModeReplica {
		return nil, nil
	}
	t, err := r.table(unix.NFPROTO_INET, replicaOf(c.table))
	if err != nil || !t.exists {
		return nil, err
	}
	stale := &tableCopy{name: replicaOf(c.table), have: &state{table: t}, plan: &plan{drop: true}}
	return stale, c.mayWrite(t)
}
