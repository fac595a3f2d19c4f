package listed

import (
	"fmt"
	"testing"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/chain"
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

// What *route* has cleaned is not cleaned again, and everything else is.
func TestAnswersAreCleanedOnce(t *testing.T) {
	req := new(dns.Msg).SetQuestion("a.example.", dns.TypeA)
	m := new(dns.Msg).SetReply(req)
	for _, text := range []string{"a.example. 60 IN A 30.0.0.1", "b.example. 60 IN A 30.0.0.2"} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	got := &dnstest.Recorder{ResponseWriter: &test.ResponseWriter{}}
	w := &writer{ResponseWriter: got, listed: &Listed{}, name: "a.example.", req: req}
	if err := chain.Write(w, m); err != nil || got.Msg != m {
		t.Errorf("cleaned again: %v\n%s", err, got.Msg)
	}
	if err := w.WriteMsg(m); err != nil || len(got.Msg.Answer) != 1 {
		t.Errorf("not cleaned: %v\n%s", err, got.Msg)
	}
}
