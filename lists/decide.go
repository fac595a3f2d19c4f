package lists

import (
	"errors"
	"time"
)

// ErrShrunk is wrapped by the error of a file that has lost so many entries that it may have
// been cut short.
var ErrShrunk = errors.New("it has shrunk")

// known is what a library knows of the content of a list that its index has.
type known struct {
	good    bool // there is such content
	current bool // it was read as the list is configured now
	sum     digest
	size    int
	keep    int // percent of size that the file must have to be used without a request; 0: any
}

// observed is what reading the file of a list has found.
type observed struct {
	err  error // the file cannot be used
	sum  digest
	size int
}

// fewEntries is how many entries a list has that may lose any part of them: it is edited by hand.
const fewEntries = 20

// shrunk reports whether a file has lost more than it may lose by itself.
func (k known) shrunk(size int) bool {
	return k.current && k.keep > 0 && size < k.size && (size == 0 || k.size >= fewEntries && size*100 < k.size*k.keep)
}

// shrink is content of a list's file that has fewer entries than the content in use.
//
// A program that overwrites a file in place (cp, curl -o, sftp) truncates it first, and what
// is read meanwhile is a list that has lost names: they would leave by the WAN, and their
// addresses the sets, until the program is done. So it must stay as it is for a while before
// it is used.
type shrink struct {
	sum   digest
	since time.Time // when it was first read; zero: there is none
}

func (s shrink) pending() bool { return !s.since.IsZero() }

// action is what becomes of a list after its file was read.
type action uint8

const (
	keepContent  action = iota // the file is good and has the content in use
	useContent                 // the file is good and has other content
	awaitMore                  // the file may be incomplete: the content in use stays
	keepLastGood               // the file is bad: the content in use stays
	useCopy                    // the file is bad, and there is no content: the last good copy is used
)

// decide returns what becomes of a list, and the smaller content that is pending then.
// pending is what was returned before. rest is how long smaller content must stay as it is;
// 0 uses it at once.
func decide(k known, o observed, pending shrink, rest time.Duration, now time.Time) (action, shrink) {
	switch {
	case o.err != nil && k.good:
		return keepLastGood, shrink{}
	case o.err != nil:
		return useCopy, shrink{}
	case k.current && o.sum == k.sum:
		return keepContent, shrink{}
	case rest == 0 || !k.current || o.size >= k.size:
		return useContent, shrink{}
	case !pending.pending() || pending.sum != o.sum:
		return awaitMore, shrink{o.sum, now}
	case now.Sub(pending.since) < rest:
		return awaitMore, pending
	}
	return useContent, shrink{}
}
