package instance

import (
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/view"
	_ "github.com/coredns/coredns/plugin/whoami"

	"github.com/nameroute/nameroute/corefile"
)

func zonesOf(t *testing.T, text string) []zone {
	t.Helper()
	f, err := corefile.Parse("Corefile", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return textZones(f)
}

func TestCheckZones(t *testing.T) {
	tests := []struct {
		name, corefile, want string
	}{
		{"as shipped", ". {\n listed a\n}\n. {\n}\n", ""},
		{"two lists", ". {\n listed a\n}\n. {\n listed b\n}\n. {\n}\n", ""},
		{"both transports in one block", ". tls://. {\n listed a\n}\n. tls://. {\n}\n", ""},
		{"same binds", ". {\n bind 10.0.0.1 10.0.0.2\n listed a\n}\n. {\n bind 10.0.0.1 10.0.0.2\n}\n", ""},
		{"no list at all", ". {\n bind 10.0.0.1\n}\nexample.org {\n}\n", ""},
		{"listeners with blocks of their own", ". {\n listed a b\n}\n. {\n}\ntls://. {\n listed b\n}\ntls://. {\n listed a\n}\ntls://. {\n}\n", ""},
		{"listeners with some blocks of their own", ". tls://. {\n listed a\n}\n. {\n log\n}\ntls://. {\n}\n", ""},
		{"a view of the user's", ". {\n view v {\n  expr true\n }\n}\n", ""},
		{
			"the unfiltered first", ". {\n}\n. {\n listed a\n}\n",
			"zone . on dns://*:53: a block with listed or view comes after one without, which answers every query first: move the one without to the end",
		},
		{
			"an address that lacks the list", ". {\n bind 10.0.0.1\n listed a\n}\n. {\n bind 10.0.0.1 10.0.0.2\n}\n",
			"zone .: listed a has a block on dns://10.0.0.1:53 and none on dns://10.0.0.2:53, where its names would be refused or take another route: serve both by the same blocks (each begins with `. tls://. https://. {`, say, or has the same bind), or give dns://10.0.0.2:53 a block with listed a too",
		},
		{
			"an address that lacks the rest", ". {\n bind 10.0.0.1 10.0.0.2\n listed a\n}\n. {\n bind 10.0.0.1\n}\n",
			"zone . on dns://10.0.0.2:53: names on no list would be refused: add a last block without listed on this listener",
		},
		{
			"two for the rest", ". {\n listed a\n}\n. {\n}\n. {\n}\n",
			"zone . on dns://*:53: more than one block without listed or view: merge them into one",
		},
		{
			"the same zone twice, without a list", "example.org {\n}\nexample.org {\n}\n",
			"zone example.org. on dns://*:53: more than one block without listed or view: merge them into one",
		},
		{
			"another port", ".:5353 {\n listed a\n}\n. {\n}\n",
			"none on dns://*:53",
		},
		{
			"a transport that lacks the list", ". {\n listed a\n}\n. tls://. {\n}\n",
			"none on tls://*:853",
		},
		{
			"one list on one listener only", ". {\n listed a\n}\n. tls://. {\n listed b\n}\n. tls://. {\n}\n",
			"none on tls://*:853",
		},
		{
			"one list of two on one listener only", ". {\n listed a b\n}\n. {\n}\ntls://. {\n listed a\n}\ntls://. {\n}\n",
			"listed b has a block on dns://*:53 and none on tls://*:853",
		},
		{
			"a view on one listener only", ". {\n view v {\n  expr true\n }\n}\n. tls://. {\n listed a\n}\n. tls://. {\n}\n",
			"view v has a block on dns://*:53 and none on tls://*:853",
		},
		{
			"no block for the rest", ". {\n listed a\n}\n",
			"names on no list would be refused",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := checkZones(zonesOf(t, tc.corefile))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestHidden(t *testing.T) {
	b := zonesOf(t, ". {\n listed a\n}\n. {\n}\nlan {\n}\nexample.org {\n listed a\n}\nexample.org {\n}\n")
	if got := hidden(b); !slices.Equal(got, []string{"lan."}) {
		t.Errorf("got %v", got)
	}
}

// layout is the zones of a real instance, as start reads them.
var layout struct {
	zones []zone
	err   error
}

func init() {
	plugin.Register("probe", func(c *caddy.Controller) error {
		for c.Next() {
		}
		c.OnStartup(func() error {
			layout.zones, layout.err = readZones(c.Context(), func(uintptr) *Block { return &Block{} })
			return nil
		})
		return nil
	})
}

// TestLayout fails when a new CoreDNS has another layout, and where the zones of a parsed
// Corefile are not those of CoreDNS.
func TestLayout(t *testing.T) {
	if err := dnsserver.SetDirectives([]string{"bind", "probe", "whoami", "view"}); err != nil {
		t.Fatal(err)
	}
	text := "Example.ORG:0 example.net:0 {\n bind 127.0.0.1 127.0.0.2\n view v {\n  expr true\n }\n whoami\n}\n" +
		"example.org:0 example.net:0 {\n bind 127.0.0.1 127.0.0.2\n probe\n whoami\n}\n"
	in := caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
	inst, err := caddy.Start(in)
	if err != nil {
		t.Fatal(err)
	}
	defer inst.Stop()
	if layout.err != nil {
		t.Fatal(layout.err)
	}
	fromText := zonesOf(t, text)
	if len(layout.zones) != 4 || len(fromText) != 4 {
		t.Fatalf("CoreDNS has %d zones, the text %d", len(layout.zones), len(fromText))
	}
	for i, b := range layout.zones {
		f := fromText[i]
		if b.name != f.name || b.port != f.port || b.transport != f.transport || b.filtered != f.filtered || !slices.Equal(b.hosts, f.hosts) {
			t.Errorf("zone %d: CoreDNS %+v, text %+v", i, b, f)
		}
		if b.block == 0 || (b.block == layout.zones[0].block) != (i < 2) {
			t.Errorf("zone %d: identity %x", i, b.block)
		}
	}
}
