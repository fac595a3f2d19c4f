package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	plugintest "github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/corefile"
	_ "github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/test/netlab"
)

// grabbed is the server that the directive `grab` last saw a query of.
var grabbed *dnsserver.Server

// grab shows a benchmark the server that it is part of, so that the whole chain is
// measured without the sockets on both sides of it.
type grab struct{ next plugin.Handler }

func (g grab) Name() string { return "grab" }

func (g grab) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	grabbed, _ = ctx.Value(dnsserver.Key{}).(*dnsserver.Server)
	return plugin.NextOrFailure("grab", g.next, ctx, w, r)
}

func init() {
	plugin.Register("grab", func(c *caddy.Controller) error {
		for c.Next() {
		}
		dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler { return grab{next} })
		return nil
	})
}

// chain is a running CoreDNS whose queries are made by calling it.
type chain struct{ server *dnsserver.Server }

func startChain(b *testing.B, blocks string) *chain {
	b.Helper()
	dir := b.TempDir()
	files := map[string]string{
		"mine.txt":     "listed.example\n",
		"gateway.yaml": "routes:\n  vpn: {interface: nowhere0}\nlists:\n  mine: {file: mine.txt}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	order := append([]string{"grab"}, corefile.Directives()...)
	if err := dnsserver.SetDirectives(order); err != nil {
		b.Fatal(err)
	}
	dnsserver.Quiet = true
	instance.SetDefaults("", filepath.Join(dir, "state"))
	text := strings.ReplaceAll(blocks, "CONFIG", filepath.Join(dir, "gateway.yaml"))
	inst, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { inst.ShutdownCallbacks(); inst.Stop() })
	grabbed = nil
	q := new(dns.Msg).SetQuestion("www.listed.example.", dns.TypeA)
	r, err := dns.Exchange(q, inst.Servers()[0].LocalAddr().String())
	if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != 2 || grabbed == nil {
		b.Fatalf("the chain does not answer: %v %v", r, err)
	}
	return &chain{grabbed}
}

// bench asks the chain for a name that is cached, again and again.
func (c *chain) bench(b *testing.B) {
	b.Helper()
	ctx := context.WithValue(context.WithValue(context.Background(), dnsserver.Key{}, c.server), dnsserver.LoopKey{}, 0)
	q := new(dns.Msg).SetQuestion("www.listed.example.", dns.TypeA)
	w := &sink{}
	b.ReportAllocs()
	for b.Loop() {
		w.rcode = -1
		c.server.ServeDNS(ctx, w, q)
		if w.rcode != dns.RcodeSuccess || w.answers != 2 {
			b.Fatalf("rcode %d, %d records", w.rcode, w.answers)
		}
	}
}

// sink notes what was written.
type sink struct {
	plugintest.ResponseWriter
	rcode, answers int
}

func (a *sink) WriteMsg(m *dns.Msg) error {
	a.rcode, a.answers = m.Rcode, len(m.Answer)
	return nil
}

const answering = `    template IN A . {
        answer "{{ .Name }} 3600 IN A 30.0.0.1"
        answer "{{ .Name }} 3600 IN A 30.0.0.2"
    }
`

// BenchmarkChain is all that the handler does for a cached answer of a listed name,
// without the sockets: ours, which chooses by list and sees that the kernel has the
// addresses, and beside it stock CoreDNS, which chooses by an expression and learns nothing.
func BenchmarkChain(b *testing.B) {
	netlab.Need(b)
	b.Run("nameroute", func(b *testing.B) {
		startChain(b, fmt.Sprintf(`.:0 {
    bind 127.0.0.1
    grab
    listed mine {
        config CONFIG
    }
    route vpn {
        config CONFIG
    }
    cache
%s}
.:0 {
    bind 127.0.0.1
    whoami
}
`, answering)).bench(b)
	})
	b.Run("coredns-view-expr", func(b *testing.B) {
		startChain(b, fmt.Sprintf(`.:0 {
    bind 127.0.0.1
    grab
    view listed {
        expr name() endsWith 'listed.example.'
    }
    cache
%s}
.:0 {
    bind 127.0.0.1
    whoami
}
`, answering)).bench(b)
	})
	b.Run("coredns-plain", func(b *testing.B) {
		startChain(b, fmt.Sprintf(".:0 {\n    bind 127.0.0.1\n    grab\n    cache\n%s}\n", answering)).bench(b)
	})
}
