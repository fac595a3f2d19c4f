package corecheck

import (
	"strings"
	"testing"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// A Corefile that says nothing would be served as CoreDNS's default.
func TestCorefileWithoutBlocks(t *testing.T) {
	if err := plugins.Register(); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse(gateway.DefaultFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "\n", "# only a comment\n", " \t"} {
		in := caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(text), ServerTypeName: "dns"}
		for _, c := range []*gateway.Config{cfg, nil} {
			problems := Check(in, c)
			if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "Corefile: no server block: want") {
				t.Errorf("%q: %v", text, problems)
			}
		}
	}
	in := caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(".:5353 {\n upstream wan 192.0.2.53\n}\n"), ServerTypeName: "dns"}
	if problems := Check(in, cfg); len(problems) > 0 {
		t.Errorf("a right one: %v", problems)
	}
}
