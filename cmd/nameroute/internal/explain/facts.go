package explain

import (
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Request is what a running process is asked.
type Request struct {
	Name   string       // fqdn; "" for an address
	Types  []string     // of the records; A and AAAA by default
	Client netip.Addr   // invalid: the box itself
	At     netip.Addr   // the address of this box that the client asks
	Class  string       // of the client
	Addrs  []netip.Addr // looked at besides those of the answer
}

// Values returns the query as the control socket takes it.
func (q Request) Values() url.Values {
	v := url.Values{"name": {q.Name}, "type": q.Types, "class": {q.Class}}
	for key, a := range map[string]netip.Addr{"client": q.Client, "at": q.At} {
		if a.IsValid() {
			v.Set(key, a.String())
		}
	}
	for _, a := range q.Addrs {
		v.Add("addr", a.String())
	}
	return v
}

// ParseRequest reads what Values has written.
func ParseRequest(v url.Values) (q Request, err error) {
	q = Request{Name: v.Get("name"), Types: v["type"], Class: v.Get("class")}
	for key, to := range map[string]*netip.Addr{"client": &q.Client, "at": &q.At} {
		if text := v.Get(key); text != "" {
			if *to, err = netip.ParseAddr(text); err != nil {
				return q, err
			}
		}
	}
	for _, text := range v["addr"] {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return q, err
		}
		q.Addrs = append(q.Addrs, a)
	}
	return q, nil
}

// Facts are what only the running process knows, which answers them to GET /explain.
type Facts struct {
	Config   string    // gateway.yaml whose configuration is in force
	Corefile string    // likewise
	Listed   []string  // lists in force that hold the name
	Claimed  bool      // a list has an entry or an exception for it
	Alias    []string  // lists that it counts as listed on, as an alias
	Domain   string    // of the name that has led to it
	Until    time.Time //
	Blocks   []Block   // in the order of the Corefile
	Queries  []Query
	Held     []Held
	Lists    []LoadedList
}

// LoadedList is how a list was read that is in use.
type LoadedList struct {
	Name     string
	LastGood bool
	Error    string
}

// Held is what the sets have of an address.
type Held struct {
	Addr     netip.Addr
	Excluded bool
	In       []Holding
}

// Holding is what one route has of an address.
type Holding struct {
	Route     string
	Set       string
	Learned   bool
	Left      time.Duration
	Permanent bool
	Names     []string
	Unknown   bool // it has other names, too
	Prefix    bool // a prefix of the route's lists covers it
}

// plainName is a name without the trailing dot.
func plainName(fqdn string) string {
	if fqdn == "." {
		return fqdn
	}
	return strings.ToLower(strings.TrimSuffix(fqdn, "."))
}
