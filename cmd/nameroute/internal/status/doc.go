// Package status is what `nameroute status` shows: the document that a running
// process answers, how those of several processes become one, and the page.
package status

import (
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
)

// Doc is what `status --json` prints and what the control sockets answer to GET
// /status. Its names and their meaning are stable: fields are added, never renamed or
// removed. Times are RFC 3339, sizes bytes, durations seconds. A missing field is not
// known: where the parts run in processes of their own, each knows its own.
type Doc struct {
	At          time.Time  `json:"at"`
	State       State      `json:"state"`             // of all of it: bad, unknown or good, in this order
	Because     []string   `json:"because,omitempty"` // what is bad, then what is unknown
	Processes   []Process  `json:"processes"`
	Problems    []string   `json:"problems,omitempty"` // what could not be read
	Routes      []Route    `json:"routes"`             // in the order of gateway.yaml, wan last
	WAN         WAN        `json:"wan"`
	Local       Local      `json:"local"`
	Classes     []Class    `json:"classes,omitempty"` // of clients, in the order of gateway.yaml
	Lists       []List     `json:"lists"`
	Sets        []Set      `json:"sets"`
	Upstreams   []Upstream `json:"upstreams"`
	Blocks      []Block    `json:"blocks"` // in the order of the Corefile
	Redirect    *Redirect  `json:"redirect,omitempty"`
	MarkWriters []string   `json:"mark_writers,omitempty"` // rules of other programs that overwrite marks, where that blocked packets
	Kernel      Kernel     `json:"kernel"`
	Checks      *Checks    `json:"checks,omitempty"` // missing: not looked yet, or check_interval is off
}

// Process is one running nameroute.
type Process struct {
	PID     int            `json:"pid"`
	Version string         `json:"version"`
	Parts   []control.Part `json:"parts"` // dns, gateway
	Since   time.Time      `json:"since"`
	// LastGood is the reason why the last good files are in use; "": the current ones are.
	LastGood string `json:"last_good,omitempty"`
	// Refused is why the files as they are now are not in use; nil: they are.
	Refused *Refused `json:"refused,omitempty"`
}

// Refused is a reload that failed: what runs differs from what the files say.
type Refused struct {
	Error string    `json:"error"` // file, line and what is wrong
	Since time.Time `json:"since"` // of the first one that failed
}

// Route is one route.
type Route struct {
	Name        string           `json:"name"`
	Egress      string           `json:"egress"`  // wireguard, interface, next_hop, wan
	OnDown      string           `json:"on_down"` // block or wan; of wan itself: block
	State       string           `json:"state"`   // up, down; waiting, idle, unknown: not known
	Up          bool             `json:"up"`      // its state is up
	By          string           `json:"by"`      // what its state is known by: handshake or kernel route
	V4          bool             `json:"v4"`      // it has a way of IPv4
	V6          bool             `json:"v6"`
	Since       time.Time        `json:"since,omitzero"`             // when it came into this state
	Reason      string           `json:"reason,omitempty"`           // why it is not up
	Note        string           `json:"note,omitempty"`             // what is wrong although it is up
	Links       []string         `json:"links,omitempty"`            // interfaces of the egress
	RX          *int64           `json:"rx,omitempty"`               // bytes: of the tunnel, else of the interfaces, all traffic
	TX          *int64           `json:"tx,omitempty"`               //
	Tunnel      *Tunnel          `json:"tunnel,omitempty"`           // of an open WireGuard tunnel
	Probes      *Probes          `json:"probes,omitempty"`           // of a route that has any
	Members     []Member         `json:"members,omitempty"`          // of a group, in the order of preference
	Blocked     *Counter         `json:"blocked,omitempty"`          // by the kill switch, since the nft table was made
	Overwritten *Counter         `json:"mark_overwritten,omitempty"` // of Blocked: packets whose mark another program had overwritten
	Inbound     *Counter         `json:"inbound_refused,omitempty"`  // packets of connections from the tunnel, refused, since then
	Default     []string         `json:"default,omitempty"`          // whose packets to what no list names take it: clients, box
	Resolvers   []netip.AddrPort `json:"resolvers,omitzero"`         // its own
	From        string           `json:"resolvers_from,omitempty"`   // where they are from
}

// Tunnel is the WireGuard tunnel of a route.
type Tunnel struct {
	Kind      string           `json:"kind"`               // kernel or userspace
	Handshake time.Time        `json:"handshake,omitzero"` // the latest; missing: never
	Endpoints []netip.AddrPort `json:"endpoints,omitempty"`
	Peers     []Peer           `json:"peers,omitempty"` // where there are several
}

// Peer is one of several peers of a tunnel.
type Peer struct {
	Key        string         `json:"key"`                // the public one
	State      string         `json:"state"`              // up; down: what was sent to it goes unanswered; waiting, idle: not known
	Endpoint   netip.AddrPort `json:"endpoint,omitzero"`  // missing: not known
	Handshake  time.Time      `json:"handshake,omitzero"` // the latest; missing: never
	AllowedIPs []netip.Prefix `json:"allowed_ips,omitempty"`
}

// Member is a route in a group.
type Member struct {
	Name    string `json:"name"`
	InForce bool   `json:"in_force"` // new flows leave by it
	Weight  int    `json:"weight,omitempty"`
	Probes
}

// Probes are what the probes of a route have found.
type Probes struct {
	State     string    `json:"state"`                        // good, bad; unknown: nothing yet, or they cannot be sent
	Reason    string    `json:"reason,omitempty"`             // of the last round that was not good
	Last      time.Time `json:"last,omitzero"`                // when the last round ended; missing: none has
	RoundTrip float64   `json:"round_trip_seconds,omitempty"` // smoothed; missing: none was measured
}

// Counter is a packet counter of the nft table.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// WAN is the egress of everything that no list names.
type WAN struct {
	Defaults  []string         `json:"defaults"`                 // kernel routes that are followed, as ip(8) prints them
	Note      string           `json:"note,omitempty"`           // what nobody looks at
	Resolvers []netip.AddrPort `json:"resolvers"`                // of `upstream wan` and of endpoint names
	From      string           `json:"resolvers_from,omitempty"` // where they are from
}

// List is one list.
type List struct {
	Name     string    `json:"name"`
	Format   string    `json:"format"`
	Entries  int       `json:"entries"`  // names, exceptions included
	Prefixes int       `json:"prefixes"` // of addresses
	Skipped  int       `json:"skipped"`  // lines, or names in them, that cannot be parsed
	Read     time.Time `json:"read"`     // when the content in use was read
	LastGood bool      `json:"last_good"`
	Error    string    `json:"error,omitempty"` // why the current file is not in use
}

// Set is one set of learned addresses.
type Set struct {
	Set       string `json:"set"`   // its name; with family and table where it is not ours
	Route     string `json:"route"` //
	Family    int    `json:"family"`
	Elements  int    `json:"elements"`
	Capacity  int    `json:"capacity,omitempty"` // missing: unlimited, or not known
	PerMinute int    `json:"learned_per_minute"` // learned or refreshed in the last minute
}

// Upstream is one resolver that a block queries.
type Upstream struct {
	Address  string    `json:"address"`
	Route    string    `json:"route"`
	State    string    `json:"state"` // healthy, unhealthy; unknown: it has not answered yet
	Healthy  bool      `json:"healthy"`
	Fallback bool      `json:"fallback"`           // queried via the WAN, because the route is down
	Latency  float64   `json:"latency_seconds"`    // smoothed; 0: no answer yet
	Queries  uint64    `json:"queries"`            // sent since it is configured
	Answers  uint64    `json:"answers"`            //
	Seen     time.Time `json:"last_seen,omitzero"` // its last answer
}

// Block is one server block of the Corefile.
type Block struct {
	Zones   []string `json:"zones"`
	View    string   `json:"view,omitempty"`    // its lists, joined by +
	Clients string   `json:"clients,omitempty"` // the class that it is for; missing: all
	Routes  []string `json:"routes"`
	Queries *uint64  `json:"queries,omitempty"`    // missing: no plugin in the block counts them
	Hits    *uint64  `json:"cache_hits,omitempty"` // missing: no cache has been queried
	Replay  string   `json:"replay_off,omitempty"` // why no answer is given again from memory; missing: they are
}

// Redirect is `redirect_dns`; it is missing where that is off.
type Redirect struct {
	Queries  uint64 `json:"queries"`            // flows of LAN clients to other resolvers, answered by us
	Rejected uint64 `json:"rejected,omitempty"` // their packets to port 853; missing: none, or allowed
	Problem  string `json:"problem,omitempty"`  // what is not redirected, and why
}

// Kernel is what of the kernel is in use.
type Kernel struct {
	Table     string   `json:"table,omitempty"`     // owned, replica, plain; missing: there is none
	Owner     bool     `json:"owner"`               // the kernel knows tables with one owner
	Persist   bool     `json:"persist"`             // that outlive it
	Update    bool     `json:"update"`              // and elements whose time changes in place
	Labels    bool     `json:"labels"`              // flows are labelled with their route
	Holder    int      `json:"holder,omitempty"`    // process that keeps the table owned while nameroute is stopped
	Unheld    string   `json:"unheld,omitempty"`    // why none does, or not for long
	WireGuard []string `json:"wireguard,omitempty"` // kernel, userspace (the embedded one): of open tunnels
}
