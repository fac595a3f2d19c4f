package learned

import (
	"context"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
)

// serveHolder runs a holder until the returned function ends it.
func serveHolder(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := hold.Serve(ctx, "", func() { close(listening) }); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-listening:
	case <-ended:
		t.FailNow()
	}
	return func() { cancel(); <-ended }
}

// A table whose socket is held stays while no process runs, whatever other programs do,
// with what was learned; the next process writes it as its owner, also after its connection
// broke. Without a holder it is everybody's.
func TestHeld(t *testing.T) {
	for _, m := range []nft.Mode{nft.ModeOwned, nft.ModeReplica} {
		t.Run(string(m), func(t *testing.T) {
			own := "nameroute"
			if m == nft.ModeReplica {
				own = "nameroute_replica"
			}
			stop := serveHolder(t)
			defer stop()
			k := open(t, Options{Force: m, Holder: hold.NewClient("", nil)})
			apply(t, k, small())
			for i, a := range []string{"8.8.8.8", "8.8.4.4", "9.9.9.9"} {
				learn(t, k, vpn, time.Hour, a)
				if i == 1 {
					if err := k.do(t.Context(), k.reopen); err != nil {
						t.Fatal(err)
					}
					apply(t, k, small())
				}
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
				for _, remove := range []string{"flush ruleset", "delete table inet " + own, "flush table inet " + own, "flush set inet " + own + " vpn4"} {
					if _, err := try("nft %s", remove); err == nil && remove != "flush ruleset" {
						t.Errorf("another program could %s", remove)
					}
				}
				if inKernel(t, k, nft.SetRef{Family: "inet", Table: own, Name: "vpn4"}, a) == 0 {
					t.Errorf("%s is gone", a)
				}
				k = openMore(t, Options{Force: m, Holder: hold.NewClient("", nil)})
				apply(t, k, small())
				if !known(k, &vpn, addrs(a), time.Minute) {
					t.Errorf("%s was not adopted", a)
				}
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			stop()
			if _, err := try("nft flush ruleset; nft list table inet %s", own); err == nil {
				t.Error("nothing holds the table, and yet it cannot be flushed")
			}
		})
	}
}

// Nothing is left to hold once the table was removed, by the process that runs or by one
// that finds what another one left; nor where an ordinary table is wanted.
func TestHeldIsRemoved(t *testing.T) {
	for name, remove := range map[string]func(k *Store){
		"by the owner": func(k *Store) {
			if err := k.Remove(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"by another process": func(k *Store) {
			_ = k.Close()
			c, err := nft.Open(nft.Options{Table: "nameroute", Holder: hold.NewClient("", nil)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Remove(); err != nil {
				t.Error(err)
			}
		},
		"by owner: off": func(k *Store) {
			_ = k.Close()
			k = openMore(t, Options{Force: nft.ModePlain, Holder: hold.NewClient("", nil)})
			apply(t, k, small())
			sh(t, "nft delete table inet nameroute")
			if err := k.Remove(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			stop := serveHolder(t)
			defer stop()
			k := open(t, Options{Holder: hold.NewClient("", nil)})
			apply(t, k, small())
			remove(k)
			if out, err := try("nft list table inet nameroute"); err == nil {
				t.Errorf("the table is there:\n%s", out)
			}
			eventually(t, 30*time.Second, func() bool {
				_, err := hold.NewClient("", nil).Fetch()
				return err == hold.ErrNoHolder
			})
		})
	}
}
