package dnshalf

import (
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// The door stays closed behind a route that is removed, until its flows are ended,
// and not behind one that keeps its mark under another name.
func TestGoneMarks(t *testing.T) {
	parse := func(text string) *gateway.Config {
		cfg, err := config.Parse("gateway.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	both := parse("routes:\n  a: {interface: tun0, mark: 0x01000000}\n  b: {interface: tun1, mark: 0x02000000}\n")
	renamed := parse("routes:\n  c: {interface: tun0, mark: 0x01000000}\n")
	h := &Half{}
	h.leaveRoutes(both, renamed)
	now := time.Now()
	if got := h.goneMarks(renamed, now); len(got) != 1 || got[0].Value != 0x02000000 {
		t.Errorf("got %v", got)
	}
	if got := h.goneMarks(both, now); len(got) != 0 {
		t.Errorf("a mark that is taken again is not gone: %v", got)
	}
	h.leaveRoutes(both, renamed)
	if got := h.goneMarks(renamed, now.Add(2*goneFor)); len(got) != 0 {
		t.Errorf("for ever: %v", got)
	}
}
