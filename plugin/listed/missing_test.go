package listed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// fetched makes the list first one with a url, which no updater fetches here.
func (h *house) fetched(missing string) {
	h.write("gateway.yaml", "lists:\n  first: {url: https://lists.example/first.txt, missing: "+missing+"}\n  second: {file: second.txt}\n")
}

// arrive does what the updater does.
func (h *house) arrive(text string) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "state", "lists-fetched")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	h.write("new", text)
	if err := os.Rename(filepath.Join(h.dir, "new"), filepath.Join(dir, "first")); err != nil {
		h.t.Fatal(err)
	}
}

// twoBlocks answers names of first, of second with what they lead to, and the rest.
func twoBlocks() string {
	lead := "template IN A two.example {\n answer \"{{ .Name }} 60 IN CNAME cdn.example.net.\"\n }"
	return block("listed first {\n config CONFIG\n }", "first", "") +
		block("listed second {\n config CONFIG\n }", "second", lead) + block("", "rest", "")
}

func (h *house) want(answers map[string]string) {
	h.t.Helper()
	for qname, want := range answers {
		if got := h.ask(qname, dns.TypeTXT); got != want {
			h.t.Errorf("%s is answered by %s, want %s", qname, got, want)
		}
	}
}

// While a list with `missing: fail` is not there, a name that no list claims has no
// answer, because it may be on it.
func TestMissingFails(t *testing.T) {
	h := newHouse(t, "", "two.example\nfull:out.example.net\n")
	h.fetched("fail")
	if err := h.start(twoBlocks()); err != nil {
		t.Fatal(err)
	}
	h.ask("two.example.", dns.TypeA)
	h.want(map[string]string{
		"one.example.": "SERVFAIL", "other.example.": "SERVFAIL", "Other.Example.": "SERVFAIL",
		"two.example.": "second", "out.example.net.": "second", "cdn.example.net.": "second",
	})
	for _, proto := range []string{"udp", "tcp"} {
		for _, edns := range []bool{false, true} {
			h.wantReason(proto, edns)
		}
	}

	h.arrive("one.example\n")
	for end := time.Now().Add(time.Minute); h.ask("other.example.", dns.TypeTXT) != "rest"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the list is there, and names still fail")
		}
	}
	there := map[string]string{"one.example.": "first", "other.example.": "rest", "two.example.": "second", "cdn.example.net.": "second"}
	h.want(there)

	// What was there once is never missing again.
	if err := os.Remove(filepath.Join(h.dir, "state", "lists-fetched", "first")); err != nil {
		t.Fatal(err)
	}
	inst, err := h.inst.Restart(h.input(twoBlocks()))
	if err != nil {
		t.Fatal(err)
	}
	h.inst = inst
	h.want(there)
}

// wantReason wants SERVFAIL, with the reason for clients that speak EDNS.
func (h *house) wantReason(proto string, edns bool) {
	h.t.Helper()
	q := new(dns.Msg).SetQuestion("why.example.", dns.TypeA)
	if edns {
		q.SetEdns0(1232, true)
	}
	r, _, err := (&dns.Client{Net: proto}).Exchange(q, address(h, proto))
	if err != nil {
		h.t.Fatal(err)
	}
	var logged []string
	if o := r.IsEdns0(); o != nil {
		for _, option := range o.Option {
			logged = append(logged, option.String())
		}
	}
	got, want := fmt.Sprintln(dns.RcodeToString[r.Rcode], r.RecursionAvailable, len(r.Answer), strings.Join(logged, "; ")), "SERVFAIL true 0 \n"
	if edns {
		want = "SERVFAIL true 0 14 (Not Ready): (list first is not there yet)\n"
	}
	if got != want {
		h.t.Errorf("over %s with EDNS %v: %s, want %s", proto, edns, got, want)
	}
}

func address(h *house, proto string) string {
	if proto == "tcp" {
		return h.inst.Servers()[0].Addr().String()
	}
	return h.inst.Servers()[0].LocalAddr().String()
}

// Without it, names of a list that is not there are answered as those on no list.
func TestMissingIsEmpty(t *testing.T) {
	h := newHouse(t, "", "two.example\n")
	h.fetched("empty")
	if err := h.start(twoBlocks()); err != nil {
		t.Fatal(err)
	}
	h.want(map[string]string{"one.example.": "rest", "other.example.": "rest", "two.example.": "second"})
}
