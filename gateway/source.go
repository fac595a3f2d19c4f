package gateway

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Defaults and bounds of the keys with which a list is kept fresh.
const (
	DefaultEvery     = 24 * time.Hour
	MinEvery         = time.Minute
	MaxEvery         = 90 * 24 * time.Hour
	DefaultTimeout   = 2 * time.Minute
	MaxTimeout       = time.Hour
	DefaultMaxSize   = 64 << 20 // bytes
	MaxMaxSize       = 4 << 30  // bytes
	DefaultMinRules  = 1
	DefaultMaxShrink = 40 // percent
	MaxMirrors       = 8
	fetchedFolder    = "lists-fetched"
)

// Source is where a list with `url` comes from and what is asked of its content.
// The list of the same name then reads the file that the updater keeps.
type Source struct {
	List      string
	URLs      []string         // mirrors, http or https, asked in this order
	Select    string           // the part of the file that is the list, as a category; "" for all
	Every     time.Duration    // time between two fetches
	Via       string           // the route by which it is fetched
	Resolvers []netip.AddrPort // asked through that route; empty: those that the route has
	SHA256URL string           // "" for none; never together with Signature
	Signature Signature        // zero for none
	Headers   []Header         // sent to the URLs' own hosts only, in the order of the file
	Timeout   time.Duration    // for one fetch from one URL
	MaxSize   int64            // bytes, of what is sent and of what it unpacks to
	MinRules  int              // content with fewer is refused
	MaxShrink int              // percent of the rules that may go at once; 100 allows all
	Missing   Missing
}

// Signature says how the content of a list is signed: an Ed25519 signature as
// minisign(1) writes it.
type Signature struct {
	Key string // the public key in base64, as in the second line of minisign.pub
	URL string // "" is the list's own URL with .minisig behind its path
}

// Header is one line of an HTTP request.
type Header struct{ Name, Value string }

// Missing says what becomes of names while a list has no content at all.
type Missing string

// MissingEmpty has such a list hold no name, which is the default; MissingFail has
// names that no loaded list claims answered SERVFAIL until the list is there.
const (
	MissingEmpty Missing = "empty"
	MissingFail  Missing = "fail"
)

// Source finds where a list is fetched from; ok is false for a list with `file`
// and for an unknown one.
func (c *Config) Source(list string) (s Source, ok bool) {
	for _, s := range c.Sources {
		if s.List == list {
			return s, true
		}
	}
	return Source{}, false
}

// WithState is the configuration with the files of fetched lists below a state
// directory. Parse leaves them below DefaultState.
func (c *Config) WithState(dir string) *Config {
	d := *c
	d.Lists = slices.Clone(c.Lists)
	for i, l := range d.Lists {
		if s, fetched := c.Source(l.Name); fetched {
			d.Lists[i].File = s.File(dir)
		}
	}
	return &d
}

// FetchedDir is the folder of fetched lists below a state directory.
func FetchedDir(state string) string { return filepath.Join(state, fetchedFolder) }

// File is what the list of the source reads: the fetched file, with the selected part
// behind a colon as in `file`.
func (s Source) File(state string) string {
	file := filepath.Join(FetchedDir(state), s.List)
	if s.Select != "" {
		file += ":" + s.Select
	}
	return file
}
