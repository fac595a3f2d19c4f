package listed

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// The limit of new aliases is one of clients: the box itself, which asks here, may forward
// the queries of all of them.
func TestNewAliasesOfTheBox(t *testing.T) {
	h := newHouse(t, "one.example\n", "two.example\n")
	lead := `template IN A one.example {
 answer "{{ .Name }} 60 IN CNAME to-{{ .Name }}net."
 }`
	if err := h.start(block("listed first {\n config CONFIG\n new_aliases 1 3\n }", "first", lead) + block("listed second {\n config CONFIG\n }", "second", "") + block("", "rest", "")); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if got := h.ask(fmt.Sprintf("n%d.one.example.", i), dns.TypeA); got == "SERVFAIL" {
			t.Fatalf("answer %d to the box itself: %s", i, got)
		}
		if got := h.ask(fmt.Sprintf("to-n%d.one.example.net.", i), dns.TypeTXT); got != "first" {
			t.Fatalf("alias %d is answered by %s", i, got)
		}
	}
}
