package lists

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// holding is a list of a library.
type holding struct {
	list     gateway.List
	sig      signature    // of the file when it was last checked
	good     bool         // the index has content of the list
	read     gateway.List // what that content was read as
	sum      digest       // of that content
	uncopied bool         // its last good copy could not be stored
	shrink   shrink       // smaller content that may be incomplete
	prefixes []netip.Prefix
	cost     index.Cost // of that content
	report   Report     // its Err is what is wrong with the file now
}

// refreshOptions say how holdings are refreshed.
type refreshOptions struct {
	lastGood string // directory of the last good copies; "": there are none
	newPart  func() *index.Part
	rest     time.Duration // how long smaller content must stay as it is
	pace     *pace.Pace
	limit    index.Cost // of the list
	loading  *loading

	requested bool // the files are to be used as they are
}

// refresh checks the file of a list. It returns the entries if they differ from those that
// the index has, else nil.
func (h *holding) refresh(o refreshOptions) *index.Part {
	src := format.ParseSource(h.list.File)
	if !h.detect(src) && !(o.requested && errors.Is(h.report.Err, ErrShrunk)) {
		return nil
	}
	found, err := h.readFile(src, o)
	var next action
	h.sig.young = h.sig.young || errors.Is(err, ErrBudget) // which depends on the other lists
	next, h.shrink = decide(h.known(), observed{err: err, sum: found.sum, size: found.report.Size()}, h.shrink, o.rest, time.Now())
	if k := h.known(); next == useContent && !o.requested && k.shrunk(found.report.Size()) {
		next = keepLastGood
		err = fmt.Errorf("list %s: %s: %w: it has %d entries where there were %d, above max_shrink %d%%: `nameroute reload` uses it all the same",
			h.list.Name, h.list.File, ErrShrunk, found.report.Size(), k.size, 100-k.keep)
	}
	switch next {
	case keepContent:
		if found.part != nil { // the rest of a file that it is selected from may have changed
			h.use(found)
		}
		h.report.LastGood = false
		h.storeCopy(o)
	case useContent:
		h.use(found)
		h.storeCopy(o)
		return found.part
	case awaitMore:
		h.sig.young = true // it must be read again
	case keepLastGood:
		h.report.Err, h.report.LastGood = fmt.Errorf("%w; its last good content stays in use", err), true
	case useCopy:
		return h.useCopy(found, err, o)
	}
	return nil
}

// detect reports whether the file may have changed since it was last checked.
func (h *holding) detect(src format.Source) bool {
	sig := sign(src.Path, time.Now())
	sig.young = sig.young || src.Dir != "" // the signature does not cover what it includes
	if h.sig.same(sig) && !h.uncopied {
		return false
	}
	h.sig = sig
	return true
}

// known returns what decide needs to know of the content in the index.
func (h *holding) known() known {
	return known{good: h.good, current: h.good && h.list == h.read, sum: h.sum, size: h.report.Size(), keep: h.list.Keep}
}

// readFile reads the list. The part is nil for a file whose digest is that of the content in
// the index.
func (h *holding) readFile(src format.Source, o refreshOptions) (content, error) {
	if err := o.loading.begin(src.Path); err != nil {
		return content{report: Report{Name: h.list.Name, File: h.list.File}}, fmt.Errorf("list %s: %s: %w", h.list.Name, h.list.File, err)
	}
	if h.known().current && src.Selector == "" {
		if sum, err := sumFile(src.Path, o.pace); err == nil && sum == h.sum {
			return content{sum: sum, report: h.report, cost: h.cost}, nil
		}
	}
	return readList(h.list, h.list.File, o.newPart(), o.pace, o.limit)
}

// use makes content that of the list.
func (h *holding) use(c content) {
	h.good, h.read, h.sum = true, h.list, c.sum
	h.prefixes, h.report, h.cost = c.prefixes, c.report, c.cost
}

// storeCopy stores the last good copy of the file that was read. If that fails, the list is
// good, and the next reload tries again.
func (h *holding) storeCopy(o refreshOptions) {
	h.report.Err = nil
	if o.lastGood != "" {
		h.report.Err = storeCopy(o.lastGood, h.list, h.sum, o.pace)
	}
	h.uncopied = h.report.Err != nil
}

// useCopy makes the last good copy the content of a list whose file cannot be read, if there
// is one.
func (h *holding) useCopy(found content, err error, o refreshOptions) *index.Part {
	if o.lastGood != "" {
		var copied content
		copyErr := o.loading.begin(copyFile(o.lastGood, h.list))
		if copyErr == nil {
			copied, copyErr = readCopy(o.lastGood, h.list, o.newPart(), o.pace, o.limit)
		}
		if copyErr == nil {
			h.use(copied)
			h.report.Err = fmt.Errorf("%w; its last good copy is used", err)
			return copied.part
		}
		if !errors.Is(copyErr, fs.ErrNotExist) {
			err = fmt.Errorf("%w; its last good copy is bad too: %w", err, copyErr)
		}
	}
	h.report = found.report
	h.report.Err = fmt.Errorf("%w; it stays empty until its file is valid", err)
	return nil
}
