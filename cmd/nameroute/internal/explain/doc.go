// Package explain is `nameroute explain`: which way a name, an address or a URL goes, by
// which facts, and what would change that. It asks the running process for what only that
// knows, and the kernel for what it does with packets.
package explain

import (
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
)

// Doc is what `explain --json` prints. Its names and their meaning are stable: fields are
// added, never renamed or removed.
type Doc struct {
	At        time.Time    `json:"at"`
	Asked     string       `json:"asked"` // as it was given
	Name      string       `json:"name,omitempty"`
	Port      uint16       `json:"port,omitempty"` // of the URL
	State     status.State `json:"state"`          // good: it takes the way that the files say; bad; unknown
	Code      string       `json:"code"`           // of the verdict
	Verdict   string       `json:"verdict"`
	Client    Client       `json:"client"`
	Lists     []List       `json:"lists"`
	Blocks    []Block      `json:"blocks"`
	Queries   []Query      `json:"queries"`
	Addresses []Address    `json:"addresses"`
	Findings  []Finding    `json:"findings"`
	Remedies  []Remedy     `json:"remedies"`
	Problems  []string     `json:"problems,omitempty"` // what could not be read
}

// Client is whose packets are looked at.
type Client struct {
	Address netip.Addr `json:"address,omitzero"` // missing: the box itself
	MAC     string     `json:"mac,omitempty"`
	Link    string     `json:"link,omitempty"` // by which its packets come in
	Class   string     `json:"class,omitempty"`
	By      string     `json:"by,omitempty"` // what it is of the class by
}

// List is what a list of gateway.yaml says of the name, or of the address.
type List struct {
	Name    string  `json:"name"`
	Holds   bool    `json:"holds"` // the content in force holds it
	Source  string  `json:"source"`
	Format  string  `json:"format,omitempty"`
	Entries []Entry `json:"entries,omitempty"`
	Alias   string  `json:"alias,omitempty"` // it counts as listed, because an answer for a name of this domain leads to it
	Old     bool    `json:"old,omitempty"`   // the file holds other content than what is in force
	Error   string  `json:"error,omitempty"` // why the file or the URL is not in use as it is now
}

// Entry is one that matches the name or the address.
type Entry struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Text      string `json:"text"`
	Meaning   string `json:"meaning"`
	Exception bool   `json:"exception,omitempty"`
}

// Block is a block of the Corefile.
type Block struct {
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Zones    []string `json:"zones"`
	Lists    []string `json:"lists,omitempty"`
	Class    string   `json:"class,omitempty"`
	Route    string   `json:"route,omitempty"`
	Standing string   `json:"standing"`
	Why      string   `json:"why"`
}

// Query is one that was asked now.
type Query struct {
	Type     string       `json:"type"`
	Listener string       `json:"listener"` // that was asked
	Rcode    string       `json:"rcode,omitempty"`
	Seconds  float64      `json:"seconds"`
	From     string       `json:"from,omitempty"` // cache, upstream or local; missing: not known
	Upstream string       `json:"upstream,omitempty"`
	Route    string       `json:"route,omitempty"` // by which that was asked
	Answer   []string     `json:"answer,omitempty"`
	Addrs    []netip.Addr `json:"addresses,omitempty"`
	Reasons  []string     `json:"reasons,omitempty"` // extended errors
	Removed  []Removed    `json:"removed,omitempty"`
	Error    string       `json:"error,omitempty"`
}

// Removed is an address that a resolver answers, and nameroute does not pass on.
type Removed struct {
	Address  netip.Addr `json:"address"`
	Upstream string     `json:"upstream"` // that was asked for it
	Why      string     `json:"why"`
}

// Address is one that the name has.
type Address struct {
	Address  netip.Addr `json:"address"`
	Local    string     `json:"local,omitempty"` // why it is never rerouted
	Special  bool       `json:"special,omitempty"`
	Sets     []InSet    `json:"sets,omitempty"`
	Prefixes []Prefix   `json:"prefixes,omitempty"`
	Packet   Packet     `json:"packet"`
	Flows    []Flow     `json:"flows,omitempty"`
	Probe    *Probe     `json:"probe,omitempty"`
}

// InSet is a set that holds the address.
type InSet struct {
	Set     string   `json:"set"`
	Route   string   `json:"route"`
	Seconds float64  `json:"seconds,omitempty"` // until it expires; missing: never
	Names   []string `json:"names,omitempty"`   // that it was learned for
	More    bool     `json:"more,omitempty"`    // it has other names, which are not known
}

// Prefix is one of a list that covers the address.
type Prefix struct {
	List string `json:"list"`
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// Packet is what becomes of the first packet of a new flow to the address.
type Packet struct {
	Route   string   `json:"route"` // wan: none of the others
	By      string   `json:"by"`    // what decides that
	Mark    string   `json:"mark,omitempty"`
	Rule    string   `json:"rule,omitempty"` // the policy rule, as ip(8) prints it
	Table   int      `json:"table,omitempty"`
	Link    string   `json:"link,omitempty"`    // by which it leaves, says the kernel
	Gateway string   `json:"gateway,omitempty"` // likewise
	Refused string   `json:"refused,omitempty"` // what the kernel says instead
	SNAT    string   `json:"snat,omitempty"`
	Passes  bool     `json:"passes"`           // nothing of ours drops it
	Others  []string `json:"others,omitempty"` // rules of other programs in between
}

// Flow is one that exists.
type Flow struct {
	Source netip.Addr `json:"source"`
	Proto  string     `json:"proto"`
	Port   uint16     `json:"port,omitempty"`
	Route  string     `json:"route"`
	Remark string     `json:"remark,omitempty"`
}

// Probe is a connection that was tried.
type Probe struct {
	To      string  `json:"to"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Finding is something that decides, or that may surprise.
type Finding struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Remedy is something that would change the way.
type Remedy struct {
	Code     string   `json:"code"` // of the finding
	Text     string   `json:"text"`
	Commands []string `json:"commands,omitempty"`
}

// Where an answer is from.
const (
	FromUpstream = "upstream"
	FromCache    = "cache"
	FromLocal    = "local"
)
