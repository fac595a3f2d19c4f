package dnshalf

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

func TestFullIsSaidOnce(t *testing.T) {
	var p pressure
	a, b := nft.SetRef{Name: "vpn4"}, nft.SetRef{Name: "vpn6"}
	at := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		set   nft.SetRef
		after time.Duration
		want  bool
	}{
		{a, 0, true}, {a, time.Second, false}, {b, 2 * time.Second, true}, {a, 9 * time.Minute, false},
		{a, 18 * time.Minute, false}, // it has been full all the time
		{a, 29 * time.Minute, true}, {b, 30 * time.Minute, true},
	} {
		if got := p.isNews(c.set, at.Add(c.after)); got != c.want {
			t.Errorf("%s after %v: %v", c.set.Name, c.after, got)
		}
	}
}

// TestSpare: a shorter grace holds on, because answers were given under it.
func TestSpare(t *testing.T) {
	var p pressure
	for _, c := range []struct{ grace, want time.Duration }{
		{10 * time.Minute, 5 * time.Minute}, {4 * time.Minute, 2 * time.Minute}, {time.Hour, 2 * time.Minute},
	} {
		p.inForce(&gateway.Config{Lifetime: gateway.Lifetime{Grace: c.grace}})
		if got := p.spare(); got != c.want {
			t.Errorf("grace %v: spare %v", c.grace, got)
		}
	}
}

// TestFullSet: through the whole half, what is in grace gives way and what an answer
// may hold does not.
func TestFullSet(t *testing.T) {
	b := newBox(t)
	b.write("gateway.yaml", "set_size: 20\n"+string(read(t, b, "gateway.yaml")))
	b.start()
	for i := range 10 {
		b.learn("vpn", "a.example.", 4*time.Minute, fmt.Sprintf("8.8.8.%d", i))
		b.learn("vpn", "a.example.", 6*time.Minute, fmt.Sprintf("8.8.4.%d", i))
	}
	b.learn("vpn", "a.example.", time.Hour, "9.9.9.9")
	if b.left("vpn", "8.8.8.0") != 0 || b.left("vpn", "8.8.4.0") == 0 || b.left("vpn", "9.9.9.9") == 0 {
		t.Errorf("%v %v %v", b.left("vpn", "8.8.8.0"), b.left("vpn", "8.8.4.0"), b.left("vpn", "9.9.9.9"))
	}
	for i := range 9 {
		b.learn("vpn", "a.example.", time.Hour, fmt.Sprintf("7.7.7.%d", i))
	}
	err := b.route["vpn"].Learn(t.Context(), "a.example.", parseAddrs([]string{"1.1.1.1"}), time.Hour, time.Hour)
	if !errors.Is(err, nft.ErrSetFull) {
		t.Errorf("all are in use: %v", err)
	}
}
