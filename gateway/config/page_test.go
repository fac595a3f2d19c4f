package config

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// The page describes every key, and no other.
func TestPageDescribesEveryKey(t *testing.T) {
	r := &reader{positions: problem.Positions{}}
	var keys []string
	add := func(under string, fields []field) {
		for _, f := range fields {
			if f.renamed == "" {
				keys = append(keys, under+f.key)
			}
		}
	}
	add("", (&builder{defaults(""), r}).fields())
	add("lifetime.", lifetimeFields(&gateway.Lifetime{}))
	add("redirect_dns.", (&builder{defaults(""), r}).redirectFields())
	add("default.", (&builder{defaults(""), r}).defaultFields())
	add("clients.NAME.", classFields(&gateway.Clients{}))
	add("routes.NAME.", (&routeReader{r: r}).fields())
	add("routes.NAME.match.", matchFields(&gateway.Match{}))
	add("lists.NAME.", (&listReader{r: r}).fields())
	add("lists.NAME.signature.", signatureFields(&gateway.Signature{}))
	page, err := os.ReadFile("../../docs/gateway.yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for line := range strings.Lines(string(page)) {
		if key, ok := strings.CutPrefix(line, "### "); ok {
			described = append(described, strings.TrimSpace(key))
		}
	}
	for _, key := range keys {
		if !slices.Contains(described, key) {
			t.Errorf("docs/gateway.yaml.md does not describe %s", key)
		}
	}
	for i, key := range described {
		if !slices.Contains(keys, key) {
			t.Errorf("docs/gateway.yaml.md describes %s, which is no key", key)
		}
		if slices.Contains(described[:i], key) {
			t.Errorf("docs/gateway.yaml.md describes %s twice", key)
		}
	}
}
