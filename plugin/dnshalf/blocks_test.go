package dnshalf

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

func blocksOf(t *testing.T, text string) []Block {
	t.Helper()
	f, err := corefile.Parse("Corefile", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return textBlocks(f)
}

func TestCheckBlocks(t *testing.T) {
	tests := []struct {
		name, corefile, want string
	}{
		{"as shipped", ". {\n listed a\n}\n. {\n}\n", ""},
		{"two lists", ". {\n listed a\n}\n. {\n listed b\n}\n. {\n}\n", ""},
		{"both transports in one block", ". tls://. {\n listed a\n}\n. tls://. {\n}\n", ""},
		{"same binds", ". {\n bind 10.0.0.1 10.0.0.2\n listed a\n}\n. {\n bind 10.0.0.1 10.0.0.2\n}\n", ""},
		{"no list at all", ". {\n bind 10.0.0.1\n}\nexample.org {\n}\n", ""},
		{"a view of somebody's own", ". {\n view v {\n  expr true\n }\n}\n", ""},
		{
			"the unfiltered first", ". {\n}\n. {\n listed a\n}\n",
			"zone . on dns://*:53: a block with listed or view stands below one without, which answers everything before it: move the block without to the end",
		},
		{
			"an address that lacks the list", ". {\n bind 10.0.0.1\n listed a\n}\n. {\n bind 10.0.0.1 10.0.0.2\n}\n",
			"zone .: the block with listed or view on dns://10.0.0.1:53 is not on dns://10.0.0.2:53, where its names would be refused or take another route: give all blocks of the zone the same bind and port",
		},
		{
			"an address that lacks the rest", ". {\n bind 10.0.0.1 10.0.0.2\n listed a\n}\n. {\n bind 10.0.0.1\n}\n",
			"zone . on dns://10.0.0.2:53: names on no list would be refused: add a last block without listed, with the same bind and port",
		},
		{
			"another port", ".:5353 {\n listed a\n}\n. {\n}\n",
			"is not on dns://*:53",
		},
		{
			"a transport that lacks the list", ". {\n listed a\n}\n. tls://. {\n}\n",
			"is not on tls://*:853",
		},
		{
			"one list on one listener only", ". {\n listed a\n}\n. tls://. {\n listed b\n}\n. tls://. {\n}\n",
			"is not on tls://*:853",
		},
		{
			"no block for the rest", ". {\n listed a\n}\n",
			"names on no list would be refused",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := checkBlocks(blocksOf(t, tc.corefile))
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
	b := blocksOf(t, ". {\n listed a\n}\n. {\n}\nlan {\n}\nexample.org {\n listed a\n}\nexample.org {\n}\n")
	if got := hidden(b); !slices.Equal(got, []string{"lan."}) {
		t.Errorf("got %v", got)
	}
}

// layout reads the blocks of a real instance in its setup, as Attach does.
var layout struct {
	blocks []Block
	err    error
}

func init() {
	plugin.Register("probe", func(c *caddy.Controller) error {
		for c.Next() {
		}
		c.OnStartup(func() error {
			layout.blocks, layout.err = readBlocks(c.Context(), nil)
			return nil
		})
		return nil
	})
}

// TestLayout fails when a new CoreDNS keeps its blocks otherwise, and pins that the
// reading of a text agrees with CoreDNS's own.
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
	fromText := blocksOf(t, text)
	if len(layout.blocks) != 4 || len(fromText) != 4 {
		t.Fatalf("CoreDNS has %d blocks, the text %d", len(layout.blocks), len(fromText))
	}
	for i, b := range layout.blocks {
		f := fromText[i]
		if b.Zone != f.Zone || b.Port != f.Port || b.Transport != f.Transport || b.Filtered != f.Filtered || !slices.Equal(b.Hosts, f.Hosts) {
			t.Errorf("block %d: CoreDNS %+v, text %+v", i, b, f)
		}
		if b.id == 0 || (b.id == layout.blocks[0].id) != (i < 2) {
			t.Errorf("block %d: identity %x", i, b.id)
		}
	}
}
