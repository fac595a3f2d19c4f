package corefile

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/parse"
	"github.com/coredns/coredns/plugin/pkg/transport"
)

// File is a parsed Corefile: the files that it imports are in their places, and
// environment variables are replaced. It is immutable.
type File struct {
	Name   string
	Blocks []Block // in the order in which CoreDNS tries them

	text *Text
	span []span // the lines of each block in text; nil where they cannot be told apart
	snip []span // the lines of the snippets
}

// Position is a place in a file that the user wrote.
type Position struct {
	File string
	Line int
}

// Errorf returns an error at the position, in the form of CoreDNS's own errors.
func (p Position) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d - Error during parsing: %w", p.File, p.Line, fmt.Errorf(format, args...))
}

// Block is one server block.
type Block struct {
	Position               // of its first key
	Keys       []string    // as written: example.org tls://.:853
	Zones      []Zone      // of the keys; a reverse network may be several zones
	Hosts      []string    // what bind names: addresses and interfaces; one "" without bind
	Except     []string    // what bind leaves out, likewise
	Directives []Directive // every directive, in the order of the text

	Clients  *Clients   // nil without clients
	Listed   *Listed    // nil without listed
	View     *Directive // of a view that is not ours; nil without view
	Route    *Route     // nil without route
	Upstream *Upstream  // nil without upstream
}

// Zone is a zone that a block serves, and by which transport and port.
type Zone struct {
	Name      string // an fqdn in lower case
	Transport string // dns, tls, https, https3, quic, grpc
	Port      string
}

// Listed is a listed directive.
type Listed struct {
	Position
	Lists  []string
	Config string // its own gateway.yaml; "" without
}

// Route is a route directive.
type Route struct {
	Position
	Name    string
	Config  string // its own gateway.yaml; "" without
	Foreign bool   // it learns into the sets of another program's nft table
}

// HandedOut is the word among the addresses of an upstream directive for the resolvers
// that the route's link was given.
const HandedOut = "dhcp"

// Upstream is an upstream directive.
type Upstream struct {
	Position
	Route     string
	Addresses []string // as written; none asks the route's own resolvers
	Config    string   // its own gateway.yaml; "" without

	Properties []Property // all, config among them
}

// Filtered reports whether a view, ours or another, chooses the queries of the block.
func (b *Block) Filtered() bool { return b.Listed != nil || b.View != nil }

// Lists returns the lists that a Corefile names, each once, in its order.
func (f *File) Lists() []string {
	var names []string
	for _, b := range f.Blocks {
		if b.Listed == nil {
			continue
		}
		for _, l := range b.Listed.Lists {
			if !slices.Contains(names, l) {
				names = append(names, l)
			}
		}
	}
	return names
}

// Certificates returns the files that the tls directives name, certificates and keys, each
// once.
func (f *File) Certificates() []string {
	var names []string
	for _, b := range f.Blocks {
		for _, name := range b.TLS() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// TLS returns the files that the block's tls directive names: certificate, key and perhaps the
// authorities of clients. There are none with ACME.
func (b *Block) TLS() []string {
	root := ""
	var names []string
	for _, d := range b.Directives {
		switch {
		case d.Name == "root" && len(d.Args) > 0:
			root = d.Args[0]
		case d.Name == "tls":
			names = slices.Clone(d.Args)
		}
	}
	for i, name := range names {
		if !filepath.IsAbs(name) && root != "" {
			names[i] = filepath.Join(root, name)
		}
	}
	return names
}

// Parse parses a Corefile and what it imports. It checks the form only; whether a
// directive exists and its arguments are right is left to the plugins.
func Parse(name string, text []byte) (*File, error) {
	t, err := Expand(name, text)
	if err != nil {
		return nil, err
	}
	return t.Parse()
}

// Parse parses the text. Positions are those in the files that it was read from.
func (t *Text) Parse() (*File, error) {
	raw, err := caddyfile.Parse(t.name, bytes.NewReader(t.Body), nil)
	if err != nil {
		return nil, t.Explain(err)
	}
	f := &File{Name: t.name, text: t}
	f.span, f.snip = spans(t.name, t.Body, len(raw))
	for i, sb := range raw {
		all := directives(t.name, sb.Tokens)
		line := 0
		switch {
		case f.span != nil:
			line = f.span[i].first
		case len(all) > 0:
			line = all[0].Line
		}
		if slices.Contains(sb.Keys, "}") {
			at := t.position(Position{t.name, line})
			return nil, fmt.Errorf("%s:%d - Syntax error: Unexpected token '}': no block is open: want a line with } for each {", at.File, at.Line)
		}
		b, err := newBlock(sb.Keys, all, t.position(Position{t.name, line}))
		if err != nil {
			return nil, err
		}
		for j := range b.Directives {
			b.Directives[j].Position = t.position(b.Directives[j].Position)
		}
		b.read()
		f.Blocks = append(f.Blocks, b)
	}
	return f, nil
}

// position returns where a line of the text was written.
func (t *Text) position(p Position) Position {
	if p.File == t.name && p.Line >= 1 && p.Line <= len(t.lines) {
		return t.lines[p.Line-1]
	}
	return p
}

func newBlock(keys []string, all []Directive, at Position) (Block, error) {
	b := Block{Position: at, Keys: keys, Directives: all}
	for _, key := range keys {
		trans, rest := parse.Transport(key)
		zones, port, err := plugin.SplitHostPort(rest)
		if err != nil {
			return b, at.Errorf("%s: %w", key, err)
		}
		if port == "" {
			port = defaultPort(trans)
		}
		for _, z := range zones {
			b.Zones = append(b.Zones, Zone{plugin.Name(z).Normalize(), trans, port})
		}
	}
	return b, nil
}

// read fills in what the directives say.
func (b *Block) read() {
	for _, d := range b.Directives {
		first := ""
		var rest []string
		if len(d.Args) > 0 {
			first, rest = d.Args[0], d.Args[1:]
		}
		switch d.Name {
		case "bind":
			b.Hosts = append(b.Hosts, d.Args...)
			for _, p := range d.Properties {
				b.Except = append(b.Except, p.Args...)
			}
		case directiveClients:
			b.Clients = &Clients{d.Position, first, d.property("config")}
		case "listed":
			b.Listed = &Listed{d.Position, d.Args, d.property("config")}
		case "view":
			b.View = &d
		case "route":
			b.Route = &Route{d.Position, first, d.property("config"), d.property("set") != ""}
		case "upstream":
			b.Upstream = &Upstream{d.Position, first, rest, d.property("config"), d.Properties}
		}
	}
	if len(b.Hosts) == 0 {
		b.Hosts = []string{""}
	}
}

func defaultPort(trans string) string {
	switch trans {
	case transport.TLS:
		return transport.TLSPort
	case transport.QUIC:
		return transport.QUICPort
	case transport.GRPC:
		return transport.GRPCPort
	case transport.HTTPS, transport.HTTPS3:
		return transport.HTTPSPort
	}
	return transport.Port
}
