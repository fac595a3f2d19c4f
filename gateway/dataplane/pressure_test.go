package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

// A set that stays full is reported once.
func TestFullIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := pressure{log: slog.New(slog.NewTextHandler(&log, nil)), full: logonce.Every{Interval: fullAgain, Quiet: true}}
		a, b := nft.SetRef{Name: "vpn4"}, nft.SetRef{Name: "vpn6"}
		for _, c := range []struct {
			set   nft.SetRef
			after time.Duration
			want  bool
		}{
			{a, 0, true}, {a, time.Second, false}, {b, time.Second, true}, {a, 9*time.Minute - 2*time.Second, false},
			{a, 9 * time.Minute, false}, // it has been full all the time
			{a, 11 * time.Minute, true}, {b, time.Minute, true},
		} {
			time.Sleep(c.after)
			log.Reset()
			if p.onFull(learned.Full{Set: c.set}); (log.Len() > 0) != c.want {
				t.Errorf("%s after %v: %q", c.set.Name, c.after, log.String())
			}
		}
	})
}

// TestReclaimable: a shorter grace holds on, because answers were given under it.
func TestReclaimable(t *testing.T) {
	var p pressure
	for _, c := range []struct{ grace, want time.Duration }{
		{10 * time.Minute, 5 * time.Minute}, {4 * time.Minute, 2 * time.Minute}, {time.Hour, 2 * time.Minute},
	} {
		p.setGrace(&gateway.Config{Lifetime: gateway.Lifetime{Grace: c.grace}})
		if got := p.reclaimable(); got != c.want {
			t.Errorf("grace %v: reclaimable %v", c.grace, got)
		}
	}
}

// TestFullSet: through the whole controller, what is in grace gives way and what an answer
// may hold does not.
func TestFullSet(t *testing.T) {
	b := newLab(t)
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
	err := b.admit("vpn", "a.example.", time.Hour, "1.1.1.1")
	if !errors.Is(err, ErrSetFull) {
		t.Errorf("all are in use: %v", err)
	}
}
