package nft

import (
	"errors"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// Application is one attempt to make the kernel's table equal to a Table. What is right
// stays; the rules change in one transaction. It changes nothing by itself: Compare reads
// and computes, Steps yields the transactions, and Conn.Do makes one of them. In between,
// the owner of the Conn may commit elements.
type Application struct {
	table   *Table
	reader  *reader
	port    uint32
	replace bool
	partial bool
	copies  []*tableCopy
}

// tableCopy is one of the tables that hold the same content: ours, or its replica.
type tableCopy struct {
	name  string
	flags uint32
	have  *state
	plan  *plan
}

// Begin reads the table but for what its interval sets hold. With replace everything is
// made again, whatever is there.
//
// Where other programs deleted the ordinary one of two copies, the application is
// Partial: it puts that one back before anything else is read, which may take long, and
// meanwhile our death would leave nothing. It is then followed by a second application,
// which is given the first and leaves out what was made just now: a dump right after a
// bulk load misses elements.
func (c *Conn) Begin(t *Table, replace bool, first *Application) (*Application, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	a := &Application{table: t, reader: r, port: c.sock.Port(), replace: replace, copies: c.copies()}
	if err := c.readCopies(a, first); err != nil {
		r.close()
		return nil, err
	}
	return a, nil
}

func (c *Conn) readCopies(a *Application, first *Application) (err error) {
	if first != nil {
		a.copies = a.copies[len(first.copies):]
	} else if a.partial, err = c.onlyReplicaLeft(a.reader); err != nil {
		return err
	}
	if a.partial {
		a.copies, a.replace = a.copies[:1], false
	}
	for _, copy := range a.copies {
		if copy.have, err = a.reader.readFrame(copy.name); err != nil {
			return err
		}
		if err := c.mayWrite(copy.have.table); err != nil {
			return err
		}
	}
	stale, err := c.staleReplica(a.reader)
	if stale != nil {
		a.copies = append(a.copies, stale)
	}
	return err
}

// Partial reports whether a second application must follow.
func (a *Application) Partial() bool { return a.partial }

// Close releases what Begin opened.
func (a *Application) Close() { a.reader.close() }

// Compare reads the interval sets and computes the difference. It may take long, and may
// run beside transactions about elements: unlike other dumps, those of elements are not
// interrupted by commits.
func (a *Application) Compare() (err error) {
	for _, c := range a.copies {
		if c.plan != nil {
			continue // a stale replica
		}
		if err := a.reader.readRanges(c.name, c.have); err != nil {
			return err
		}
		if c.plan, err = diff(c.have, a.table, c.flags, a.port, a.replace); err != nil {
			return err
		}
		c.plan.cut(maxPerTurn)
	}
	return nil
}

// Has reports whether the kernel already has a set of elements with timeouts, with
// elements that an earlier process or another program may have put there.
func (a *Application) Has(set string) bool {
	have := a.copies[0].have.sets
	for _, w := range a.table.Sets {
		for _, h := range have {
			if w.Name == set && h.name == set && h.learnable(w.Family) == nil {
				return true
			}
		}
	}
	return false
}

// Keeps reports whether a set that Has reports stays as it is, in all copies of the table.
func (a *Application) Keeps(set string) bool {
	return !slices.ContainsFunc(a.copies, func(c *tableCopy) bool {
		return !c.plan.drop && slices.ContainsFunc(c.plan.newSets, func(s Set) bool { return s.Name == set })
	})
}

// InForce reports whether one of the copies had rules when it was read, and all of its rules
// where the table is to be what it was before.
func (a *Application) InForce(asBefore bool) bool {
	return a.partial || slices.ContainsFunc(a.copies, func(c *tableCopy) bool {
		return len(c.have.rules) > 0 && c.have.table.flags&flagDormant == 0 &&
			!(asBefore && (c.plan.fresh || len(c.plan.newRules) > 0))
	})
}

// Changes counts the objects and elements that differ. To become the owner of a table
// that is otherwise right is none.
func (a *Application) Changes() (n int) {
	for _, c := range a.copies {
		n += c.plan.changes()
	}
	return n
}

// Contents says what a set with timeouts is to hold when it is made. fresh tells that its
// table is not there, so that nothing is routed until the transaction is made: what is
// not needed at once may follow later.
type Contents func(set SetRef, fresh bool) []Element

// Step is one transaction of an application.
type Step struct {
	Rules bool // this one changes the rules and makes the sets that they look up
	write func(b *batch) error
}

// Steps yields the transactions in order. At no time is there a rule without what it
// needs: static sets are filled before rules use them, except that after a loss, when
// nothing is marked, the rules come first and the prefixes of lists follow. One
// transaction changes the rules of all copies. Element sets that are made get their
// contents in it.
func (a *Application) Steps(contents Contents) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		for _, c := range a.copies {
			for _, write := range c.plan.before(c.name) {
				if !yield(Step{write: write}) {
					return
				}
			}
		}
		rules := Step{Rules: true, write: func(b *batch) error {
			for _, c := range a.copies {
				if err := c.plan.rules(b, c.name, func(set Set) []Element {
					return contents(a.table.ref(set.Name), !c.have.table.exists)
				}); err != nil {
					return err
				}
			}
			return nil
		}}
		if !yield(rules) {
			return
		}
		for _, c := range a.copies {
			for _, write := range c.plan.after(c.name) {
				if !yield(Step{write: write}) {
					return
				}
			}
		}
	}
}

// Do makes one step's transaction.
func (c *Conn) Do(s Step) error {
	b := c.begin()
	if err := s.write(b); err != nil {
		return err
	}
	return c.sock.transact(b)
}

// Remedy is what can be done about the error of an application.
type Remedy string

// The remedies.
const (
	GiveUp  Remedy = "give up"
	Reread  Remedy = "read again"  // the table was deleted while it was read
	Reopen  Remedy = "reopen"      // the connection broke
	Replace Remedy = "replace all" // the kernel refused the difference
)

// RemedyFor tells what may help against an error of Begin, Compare or Do.
func RemedyFor(err error) Remedy {
	var refused *Refusal
	switch {
	case errors.Is(err, ErrNoSet):
		return Reread
	case errors.Is(err, ErrBroken):
		return Reopen
	case errors.As(err, &refused) && refused.Errno != unix.EPERM:
		return Replace
	}
	return GiveUp
}
