package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

const (
	wantList = "want the path of the list"
	wantURL  = "want an http or https URL, or a list of mirrors"
)

// listReader reads one list.
type listReader struct {
	gateway.List
	gateway.Source
	r   *reader
	key string // lists.NAME
}

func (c *builder) readLists(v value) {
	v.named("names of lists, each with its keys", func(name string, v value) {
		if name == allowedIPs {
			v.r.problem(v.key, "", "reserved name", "want another")
			return
		}
		lr := &listReader{r: v.r, key: v.key, List: gateway.List{Name: name}, Source: gateway.Source{
			List: name, Every: gateway.DefaultEvery, Via: gateway.WAN, Timeout: gateway.DefaultTimeout, MaxSize: gateway.DefaultMaxSize,
			MinEntries: gateway.DefaultMinEntries, MaxShrink: gateway.DefaultMaxShrink, Missing: gateway.MissingEmpty,
		}}
		v.fields(lr.fields())
		if v.isMapping() {
			lr.check()
		}
		lr.List.Keep = 100 - lr.MaxShrink
		if len(lr.URLs) > 0 {
			lr.List.Keep = 0 // the updater has looked at it
			lr.List.File = lr.Source.File(gateway.DefaultState)
			c.Sources = append(c.Sources, lr.Source)
		}
		c.Lists = append(c.Lists, lr.List)
	})
}

func (lr *listReader) fields() []field {
	return append([]field{
		{key: "file", want: wantList, read: lr.readFile},
		{key: "format", read: func(v value) { set(&lr.Format)(v.text("want the name of a format")) }},
		{key: "url", want: wantURL, read: lr.readURLs},
	}, lr.updateFields()...)
}

// updateFields returns the keys of a list that is fetched.
func (lr *listReader) updateFields() []field {
	return []field{
		{key: "select", read: func(v value) { set(&lr.Select)(v.selector()) }},
		{key: "every", read: func(v value) { set(&lr.Every)(v.durationIn(gateway.MinEvery, gateway.MaxEvery)) }},
		{key: "via", read: func(v value) { set(&lr.Via)(v.text("want the name of a route, or wan")) }},
		{key: "resolvers", read: func(v value) { lr.Resolvers = v.resolvers() }},
		{key: "sha256_url", read: func(v value) { set(&lr.SHA256URL)(v.webAddress()) }},
		{key: "signature", read: func(v value) { v.fields(signatureFields(&lr.Signature)) }},
		{key: "headers", read: lr.readHeaders},
		{key: "timeout", read: func(v value) { set(&lr.Timeout)(v.durationIn(0, gateway.MaxTimeout)) }},
		{key: "max_size", read: func(v value) { set(&lr.MaxSize)(v.size()) }},
		{key: "min_entries", read: func(v value) { set(&lr.MinEntries)(v.number(0, maxTable)) }},
		{key: "min_rules", renamed: "min_entries"},
		{key: "max_shrink", read: func(v value) { set(&lr.MaxShrink)(v.percent()) }},
		{key: "missing", read: func(v value) {
			word, ok := v.word(string(gateway.MissingEmpty), string(gateway.MissingFail))
			set(&lr.Missing)(gateway.Missing(word), ok)
		}},
	}
}

func signatureFields(s *gateway.Signature) []field {
	return []field{
		{key: "key", read: func(v value) { set(&s.Key)(v.publicKey()) }},
		{key: "url", read: func(v value) { set(&s.URL)(v.webAddress()) }},
	}
}

func (lr *listReader) readFile(v value) {
	if strings.Contains(v.node.Value, "://") {
		v.problem("is a URL", "want url: for it instead of file:")
		return
	}
	set(&lr.List.File)(v.path(wantList))
}

func (lr *listReader) readURLs(v value) {
	for _, item := range v.items(wantURL) {
		u, ok := item.webAddress()
		switch {
		case !ok:
		case slices.Contains(lr.URLs, u):
			item.problem("duplicate", "")
		case len(lr.URLs) == gateway.MaxMirrors:
			item.problem("too many mirrors", fmt.Sprintf("want at most %d", gateway.MaxMirrors))
		default:
			lr.URLs = append(lr.URLs, u)
		}
	}
	if v.node.Kind == yaml.SequenceNode && len(v.node.Content) == 0 {
		v.problem("is an empty list", wantURL)
	}
}

// reservedHeaders are set by the fetch itself.
var reservedHeaders = []string{
	"accept-encoding", "connection", "content-length", "expect", "host", "if-match", "if-modified-since", "if-none-match",
	"if-range", "if-unmodified-since", "keep-alive", "range", "te", "trailer", "transfer-encoding", "upgrade",
}

func (lr *listReader) readHeaders(v value) {
	v.entries("names of headers with their values", func(name string, key, child value) {
		switch {
		case name == "" || strings.ContainsFunc(name, notToken):
			key.problemWith("", "not the name of a header", "want for example Authorization")
			return
		case slices.Contains(reservedHeaders, strings.ToLower(name)):
			key.problemWith("", "is set by nameroute itself", "")
			return
		case slices.ContainsFunc(lr.Headers, func(h gateway.Header) bool { return strings.EqualFold(h.Name, name) }):
			key.problemWith("", "duplicate: case does not matter", "want one")
			return
		}
		text, ok := child.text("want the value of the header")
		if ok && strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c > '~' }) {
			// The value may be a secret: messages do not repeat it.
			child.problemWith("", "has a character that a header cannot carry", "want printable ASCII")
			return
		}
		if ok {
			lr.Headers = append(lr.Headers, gateway.Header{Name: name, Value: text})
		}
	})
}

// notToken reports a character that the name of a header cannot have (RFC 9110
// section 5.6.2).
func notToken(c rune) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// check reports keys that contradict each other.
func (lr *listReader) check() {
	file, from := lr.has("file"), lr.has("url")
	switch {
	case file && from:
		lr.r.problem(lr.key+".url", "", "the list has a file already", "want one of the two")
	case !file && !from:
		lr.r.problem(lr.key, "", "has neither file nor url", "want the path of the list, or where to fetch it")
	}
	for _, f := range lr.updateFields() {
		if !from && f.key != "max_shrink" && lr.has(f.key) {
			lr.r.problem(lr.key+"."+f.key, "", "only valid with url", "")
		}
	}
	signed := lr.has("signature")
	if signed && lr.has("sha256_url") {
		lr.r.problem(lr.key+".sha256_url", "", "the list has a signature already", "want one of the two")
	}
	if signed && !lr.has("signature.key") {
		lr.r.problem(lr.key+".signature", "", "has no key", wantKey)
	}
	if !signed {
		lr.noteUnprotected()
	}
}

// noteUnprotected notes a list that anyone on the path can change.
func (lr *listReader) noteUnprotected() {
	for _, u := range lr.URLs {
		if strings.HasPrefix(u, "http:") {
			lr.r.note(lr.key+".url", u, "anyone on the path can change the list", "want https, or a signature")
		}
	}
}

func (lr *listReader) has(key string) bool { return lr.r.given(lr.key + "." + key) }

// checkSources checks the routes via which lists are fetched.
func (c *builder) checkSources() {
	known := []string{gateway.WAN}
	for _, route := range c.Routes {
		known = append(known, route.Name)
	}
	for _, s := range c.Sources {
		key := "lists." + s.List + ".via"
		route, ok := c.Route(s.Via)
		if !ok {
			c.problem(key, s.Via, "unknown route", problem.DidYouMean(s.Via, known))
			continue
		}
		bare := route.Egress.Kind == gateway.EgressInterface || route.Egress.Kind == gateway.EgressNextHop
		if bare && len(s.Resolvers) == 0 && needsResolver(s) {
			c.problem(key, s.Via, "the route has no resolvers of its own", "add lists."+s.List+".resolvers")
		}
	}
}

// needsResolver reports whether a name has to be resolved to reach the source.
func needsResolver(s gateway.Source) bool {
	all := append(slices.Clone(s.URLs), s.SHA256URL, s.Signature.URL)
	return slices.ContainsFunc(all, func(text string) bool {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return false
		}
		_, err = netip.ParseAddr(u.Hostname())
		return err != nil
	})
}
