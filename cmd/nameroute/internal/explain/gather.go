package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/lists/entry"
)

// Options are what is to be explained.
type Options struct {
	paths.Paths
	Target string   // a name, an address or a URL
	Client string   // an address or a MAC address; "": the box itself
	Types  []string // of records; none: A and AAAA
	Probe  bool     // a connection is tried
}

// look is one look at a name or an address.
type look struct {
	Options
	doc    *Doc
	cfg    *gateway.Config
	core   *corefile.File // nil where it cannot be read
	status status.Doc
	facts  Facts
	client client
	states map[string]policy.RouteState
	local  policy.Local
	own    []netip.Addr // addresses of the box
	older  []string     // commands that end flows which are older than a listing
}

// Gather finds out all there is to say.
func Gather(ctx context.Context, o Options) (Doc, error) {
	l := &look{Options: o, doc: &Doc{At: time.Now(), Asked: o.Target, Lists: []List{}, Blocks: []Block{}, Queries: []Query{}, Addresses: []Address{}, Findings: []Finding{}, Remedies: []Remedy{}}}
	q, err := l.target()
	if err != nil {
		return *l.doc, exit.With(exit.Usage, err)
	}
	if err := l.files(); err != nil {
		return *l.doc, err
	}
	if l.client, err = l.findClient(o.Client); err != nil {
		return *l.doc, exit.With(exit.Usage, err)
	}
	l.doc.Client = l.client.Client
	q.Client, q.At, q.Class = l.client.Address, l.client.at, l.client.Class
	if err := l.ask(q); err != nil {
		return *l.doc, err
	}
	l.kernel()
	l.lists()
	l.blocks()
	l.queries(ctx)
	l.addresses(ctx)
	l.conclude()
	return *l.doc, nil
}

// target reads what is to be explained.
func (l *look) target() (q Request, err error) {
	text := strings.TrimSpace(l.Target)
	if strings.Contains(text, "://") {
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return q, fmt.Errorf("%q: want a name, an address, or a URL with a host", l.Target)
		}
		text = u.Hostname()
		port := u.Port()
		if port == "" {
			n, _ := net.LookupPort("tcp", u.Scheme)
			port = strconv.Itoa(n)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			l.doc.Port = uint16(n)
		}
	}
	for i, t := range l.Types {
		l.Types[i] = strings.ToUpper(t)
		if _, ok := dns.StringToType[l.Types[i]]; !ok {
			return q, fmt.Errorf("--type %q: want a type of DNS records, such as A, AAAA or HTTPS", t)
		}
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return Request{Addrs: []netip.Addr{a.Unmap().WithZone("")}}, nil
	}
	name, reason := entry.CanonicalName(text)
	if reason != "" {
		return q, fmt.Errorf("%q: neither a name nor an address: %s", l.Target, reason)
	}
	l.doc.Name = plainName(name)
	q = Request{Name: dns.Fqdn(l.doc.Name), Types: l.Types}
	if len(q.Types) == 0 {
		q.Types = []string{"A", "AAAA"}
	}
	return q, nil
}

// files reads the user's files as they are in force: the last good ones where the current
// ones are not in use.
func (l *look) files() (err error) {
	if l.status, err = status.Read(l.Run); err != nil {
		return err
	}
	config, core := l.Config, l.Corefile
	for _, p := range l.status.Processes {
		if p.LastGood != "" || p.Refused != nil {
			dir := filepath.Join(l.State, "good")
			config, core = filepath.Join(dir, "gateway.yaml"), filepath.Join(dir, "Corefile")
			l.find(CodeRefused, "the files as they are now are not in use: %s", firstLine(refusal(p)))
		}
	}
	if l.cfg, err = l.readConfig(config); err != nil {
		return err
	}
	if text, err := statefile.ReadFile(core); err != nil {
		l.problem("Corefile", err)
	} else if l.core, err = corefile.Parse(l.Corefile, text); err != nil {
		l.problem("Corefile", err)
	}
	return nil
}

func refusal(p status.Process) string {
	if p.Refused != nil {
		return p.Refused.Error
	}
	return p.LastGood
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return text
}

func (l *look) readConfig(file string) (*gateway.Config, error) {
	if file == l.Config {
		return l.Gateway()
	}
	text, err := statefile.ReadFile(file)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(l.Config, text)
	if err != nil {
		return nil, exit.With(exit.Config, err)
	}
	return cfg.WithState(l.State), nil
}

// ask asks the process that has the resolver.
func (l *look) ask(q Request) error {
	for _, parts := range control.Processes() {
		if !slices.Contains(parts, control.DNS) {
			continue
		}
		text, err := control.Get(control.Socket(l.Run, parts), "explain?"+q.Values().Encode())
		if errors.Is(err, control.ErrNotRunning) {
			continue
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &l.facts); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%w as a resolver: start it with `nameroute run`", control.ErrNotRunning)
}

// kernel reads what decides about all packets.
func (l *look) kernel() {
	var err error
	if l.states, err = policy.Routes(l.cfg); err != nil {
		l.problem("routing tables", err)
	}
	if l.local, err = policy.LocalNetworks(l.cfg); err != nil {
		l.problem("local networks", err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		l.problem("addresses of the box", err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			l.own = append(l.own, p.Addr().Unmap().WithZone(""))
		}
	}
}

// problem notes what could not be read.
func (l *look) problem(what string, err error) {
	if err != nil {
		l.doc.Problems = append(l.doc.Problems, what+": "+err.Error())
	}
}

// find notes a finding, each once.
func (l *look) find(code, format string, args ...any) {
	f := Finding{code, fmt.Sprintf(format, args...)}
	if !slices.Contains(l.doc.Findings, f) {
		l.doc.Findings = append(l.doc.Findings, f)
	}
}

// remedy notes what would change something.
func (l *look) remedy(code, text string, commands ...string) {
	if !slices.ContainsFunc(l.doc.Remedies, func(r Remedy) bool { return r.Text == text && slices.Equal(r.Commands, commands) }) {
		l.doc.Remedies = append(l.doc.Remedies, Remedy{code, text, commands})
	}
}

// found returns the finding with a code; nil where there is none.
func (d *Doc) found(code string) *Finding {
	i := slices.IndexFunc(d.Findings, func(f Finding) bool { return f.Code == code })
	if i < 0 {
		return nil
	}
	return &d.Findings[i]
}
