package gateway

import (
	"net/netip"
	"path/filepath"
	"slices"
	"time"
)

// Defaults and bounds of the keys of a fetched list.
const (
	DefaultEvery      = 24 * time.Hour
	MinEvery          = time.Minute
	MaxEvery          = 90 * 24 * time.Hour
	DefaultTimeout    = 2 * time.Minute
	MaxTimeout        = time.Hour
	DefaultMaxSize    = 64 << 20 // bytes
	MaxMaxSize        = 4 << 30  // bytes
	DefaultMinEntries = 1
	DefaultMaxShrink  = 40 // percent
	MaxMirrors        = 8
	fetchedDir        = "lists-fetched"
)

// Source says where a list with `url` is fetched and what its content must be like. The
// List of the same name reads the file that the updater stores.
type Source struct {
	List       string
	URLs       []string         // mirrors, http or https, tried in this order
	Select     string           // the part of the file that is the list, such as a category; "" for all
	Every      time.Duration    // time between two fetches
	Via        string           // the route via which it is fetched
	Resolvers  []netip.AddrPort // queried via that route; empty: those of the route
	SHA256URL  string           // "" for none; never together with Signature
	Signature  Signature        // zero for none
	Headers    []Header         // sent to the URLs' own hosts only, in the order of the file
	Timeout    time.Duration    // for one fetch from one URL
	MaxSize    int64            // bytes, compressed and decompressed
	MinEntries int              // content with fewer is refused
	MaxShrink  int              // percent of the entries that an update may remove; 100 allows all
	Missing    Missing
}

// Signature is the minisign(1) signature of a list: Ed25519.
type Signature struct {
	Key string // the public key in base64, as in the second line of minisign.pub
	URL string // "" is the list's own URL with .minisig appended to its path
}

// Header is a header of an HTTP request.
type Header struct{ Name, Value string }

// Missing says what happens to names while a list has no content at all.
type Missing string

// MissingEmpty, the default, treats the list as empty. MissingFail answers names that are
// on no other list with SERVFAIL until the list has content.
const (
	MissingEmpty Missing = "empty"
	MissingFail  Missing = "fail"
)

// Source returns the source of a list; ok is false for a list with `file` and for an
// unknown one.
func (c *Config) Source(list string) (s Source, ok bool) {
	for _, s := range c.Sources {
		if s.List == list {
			return s, true
		}
	}
	return Source{}, false
}

// WithState returns the configuration with the files of fetched lists below a state
// directory, which is DefaultState after parsing.
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

// FetchedDir returns the directory of fetched lists below a state directory.
func FetchedDir(state string) string { return filepath.Join(state, fetchedDir) }

// File returns what the list of the source reads: the fetched file, followed by a colon
// and the selected part, as in `file`.
func (s Source) File(state string) string {
	file := filepath.Join(FetchedDir(state), s.List)
	if s.Select != "" {
		file += ":" + s.Select
	}
	return file
}
