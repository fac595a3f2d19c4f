package instance

import (
	"errors"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/config"
)

func TestCheckPrograms(t *testing.T) {
	cfg, err := config.Parse("gateway.yaml", []byte("clients:\n  p: {user: [p], route: vpn}\nroutes:\n  vpn: {interface: tun0}\nlists:\n  mine: {file: mine.txt}\n"))
	if err != nil {
		t.Fatal(err)
	}
	const rest = ". {\n upstream wan\n}\n"
	for text, want := range map[string]string{
		". {\n clients p\n upstream vpn\n}\n": "",
		"":                                    "gateway.yaml:2: clients.p: goes by vpn with everything, and its names would not: want a block without listed, above those for everybody",
		". {\n clients p\n listed mine\n upstream vpn\n}\n":                        "gateway.yaml:2: clients.p: goes by vpn",
		". {\n clients p\n upstream wan\n}\n":                                      "Corefile:2 - Error during parsing: class p goes by vpn with everything (gateway.yaml), and this block asks via wan: want `upstream vpn`",
		". {\n clients p\n forward . 192.0.2.1\n}\n":                               "Corefile:2 - Error during parsing: class p goes by vpn with everything (gateway.yaml): want `upstream vpn` in its block",
		". {\n listed mine\n upstream wan\n}\n. {\n clients p\n upstream vpn\n}\n": "Corefile:2 - Error during parsing: class p goes by vpn with everything (gateway.yaml), and its names on this list would be asked via wan: want the block with `clients p` above this one",
		". {\n listed mine\n upstream vpn\n}\n. {\n clients p\n upstream vpn\n}\n": "",
	} {
		f, err := corefile.Parse("Corefile", []byte(text+rest))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(CheckPrograms(f, cfg)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}
