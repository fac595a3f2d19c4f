package updater

import (
	"os"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Status describes the fetched lists, in the order of gateway.yaml.
type Status struct {
	Lists []ListStatus
}

// List returns the status of a list by its name.
func (s Status) List(name string) (ListStatus, bool) {
	i := slices.IndexFunc(s.Lists, func(l ListStatus) bool { return l.Name == name })
	if i < 0 {
		return ListStatus{}, false
	}
	return s.Lists[i], true
}

// ListStatus describes one fetched list.
type ListStatus struct {
	Name     string
	URL      string    // where the content came from; "" for none and for the shipped copy
	Missing  bool      // there is no content at all
	Shipped  bool      // the content came with the package
	Rules    int       // of the content in use
	Size     int64     // of the content in use, in bytes
	SHA256   string    // of the content in use, in hex
	Fetched  time.Time // when the content was fetched
	Checked  time.Time // when a server last had nothing newer
	Next     time.Time // when it is fetched next
	Error    string    // of the last fetch; "" where it succeeded
	Versions int       // earlier versions that Rollback can return to
	Err      error     // why the metadata is not known
}

// Status returns the status of the fetched lists. It does not wait for an update in
// progress.
func (u *Updater) Status() Status { return ReadStatus(u.wanted.Load(), u.options.State) }

// ReadStatus reads the status of the fetched lists below a state directory. It changes
// nothing and needs no running updater.
func ReadStatus(cfg *gateway.Config, state string) Status {
	st := newStore(state)
	var all Status
	for _, s := range cfg.Sources {
		m, err := readMeta(st.meta(s.List))
		one := ListStatus{
			Name: s.List, URL: m.URL, Missing: true, Shipped: m.Shipped, Rules: m.Rules, SHA256: m.SHA256, Fetched: m.Fetched,
			Checked: m.Checked, Next: m.Next, Error: m.Error, Versions: st.countVersions(s.List), Err: err,
		}
		if info, err := os.Stat(st.content(s.List)); err == nil {
			one.Missing, one.Size = false, info.Size()
			if one.Fetched.IsZero() {
				one.Fetched = info.ModTime()
			}
		}
		all.Lists = append(all.Lists, one)
	}
	return all
}
