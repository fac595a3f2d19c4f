package listed

import (
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// missing names the list that would have to say whether a name is the block's, and
// that is not there (`missing: fail`); "" where there is none. A name that some list
// claims, or that a listed name led to, has its place without it.
func (l *Listed) missing(h *dnshalf.Half, m lists.Match, q string) string {
	list := h.Missing(l.lists)
	if list == "" || m.Claimed() || len(h.Names().Lists(canonical(q))) > 0 {
		return ""
	}
	return list
}
