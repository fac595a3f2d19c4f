package netlab

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

// TestNothingIsLeft builds a lab and looks for what remains of it.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	Need(t, "unbound", "dnsmasq")
	var l *Lab
	var pids []int
	r := &record{}
	start := time.Now()
	if fatal := r.run(func() {
		l = New(r, Options{})
		t.Logf("made in %v", time.Since(start))
		l.Client.Flow(l.World.Addresses("plain.example").V4)
		for _, n := range []*Namespace{l.Client.Namespace, l.Box.Namespace, l.ISP.Namespace, l.Internet.Namespace, l.Tunnel.Namespace} {
			pids = append(pids, n.Pids()...)
		}
		start = time.Now()
	}); fatal != "" {
		t.Fatal(fatal)
	}
	t.Logf("ended in %v", time.Since(start))
	if len(pids) < 3 { // unbound, dnsmasq, wireguard-go
		t.Errorf("only %d processes: %v", len(pids), pids)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if _, err := os.Stat(l.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (%v)", l.Dir, err)
	}
}
