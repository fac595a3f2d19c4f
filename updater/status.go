package updater

import (
	"os"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Status is what is known of a fetched list, read from disk.
type Status struct {
	List    string
	URL     string    // where the content came from; "" for none and for the shipped copy
	Missing bool      // there is no content at all
	Shipped bool      // the content came with the package
	Rules   int       // of the content in use
	Size    int64     // bytes of it
	SHA256  string    // of it, in hex
	Fetched time.Time // when it came
	Checked time.Time // when a server last had nothing newer
	Next    time.Time // when it is fetched next
	Error   string    // of the last fetch; "" where all is well
	Kept    int       // versions before it that a rollback can go back to
	Unread  error     // why the rest is not known
}

// Look reads the status of every fetched list below a state directory. It changes
// nothing and needs no running nameroute.
func Look(cfg *gateway.Config, state string) []Status {
	st := newStore(state)
	var all []Status
	for _, s := range cfg.Sources {
		m, err := readMeta(st.meta(s.List))
		one := Status{
			List: s.List, URL: m.URL, Missing: true, Shipped: m.Shipped, Rules: m.Rules, SHA256: m.SHA256, Fetched: m.Fetched,
			Checked: m.Checked, Next: m.Next, Error: m.Error, Kept: st.count(s.List), Unread: err,
		}
		if info, err := os.Stat(st.content(s.List)); err == nil {
			one.Missing, one.Size = false, info.Size()
			if one.Fetched.IsZero() {
				one.Fetched = info.ModTime()
			}
		}
		all = append(all, one)
	}
	return all
}
