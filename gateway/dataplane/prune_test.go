package dataplane

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// TestUnlisted: a name leaves its list, and takes with it the addresses that no other
// name needs.
func TestUnlisted(t *testing.T) {
	b := newLab(t)
	b.start()
	setup := func() {
		b.write("mine.txt", "a.example\nb.example\n")
		b.c.lists.Reload()
		b.learn("vpn", "www.A.example.", time.Hour, "8.8.8.8", "2606:4700::1")
		b.learn("vpn", "a.example.", time.Hour, "8.8.4.4")
		b.learn("vpn", "b.example.", time.Minute, "8.8.4.4") // known already
		b.learn("office", "a.example.", time.Hour, "9.9.9.9")
	}
	setup()
	shrink := func() {
		b.write("mine.txt", "b.example\nother.example\n")
		b.c.lists.Reload()
		b.c.RequestPrune()
	}
	shrink()
	gone := func() bool { return b.left("vpn", "8.8.8.8") == 0 && b.left("vpn", "2606:4700::1") == 0 }
	eventually(t, gone)
	if b.left("vpn", "8.8.4.4") == 0 {
		t.Error("an address of a listed name is removed")
	}
	eventually(t, func() bool { return b.left("office", "9.9.9.9") == 0 }) // work.txt has never had the name

	// Over a restart, the names are known.
	setup()
	b.stop()
	b.start()
	if b.left("vpn", "8.8.8.8") == 0 {
		t.Fatal("a restart lost it")
	}
	shrink()
	eventually(t, gone)
	// The lists change while no process runs.
	setup()
	b.stop()
	b.write("mine.txt", "b.example\n")
	b.start()
	eventually(t, gone)
	if b.left("vpn", "8.8.4.4") == 0 {
		t.Error("an address of a listed name is removed")
	}
}

// TestUnlistedStays: where it is not known for which names an address was learned, or
// where a block learns whatever it is asked, it stays until it lapses.
func TestUnlistedStays(t *testing.T) {
	b := newLab(t)
	b.start()
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8")
	for i := range 17 { // more than are kept
		b.learn("vpn", fmt.Sprintf("n%d.a.example.", i), time.Hour, "8.8.4.4")
	}
	b.answersAny("vpn", true)
	b.write("mine.txt", "other.example\n")
	b.c.lists.Reload()
	for range 20 {
		if n, err := b.c.pruneRoute(t.Context(), "vpn"); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	b.answersAny("vpn", false) // which requests a prune
	eventually(t, func() bool { return b.left("vpn", "8.8.8.8") == 0 })
	if b.left("vpn", "8.8.4.4") == 0 {
		t.Error("an address of more names than are kept is removed")
	}
	// A crash: the file has no names, and the kernel has what was learned since.
	b.write("mine.txt", "a.example\n")
	b.c.lists.Reload()
	b.learn("vpn", "a.example.", time.Hour, "1.1.1.1")
	k := &keeper{c: b.c, file: filepath.Join(b.dir, "state", "learned"), restored: true}
	if err := k.save(false); err != nil {
		t.Fatal(err)
	}
	crashed := string(read(t, b, "state/learned"))
	b.stop()
	b.write("state/learned", crashed)
	b.start()
	b.learn("vpn", "a.example.", time.Minute, "1.1.1.1")
	b.write("mine.txt", "other.example\n")
	b.c.lists.Reload()
	if n, err := b.c.pruneRoute(t.Context(), "vpn"); n != 0 || err != nil || b.left("vpn", "1.1.1.1") == 0 {
		t.Errorf("%d removed, %v", n, err)
	}
}

// TestUnlistedInSharedSets: two routes learn into the same sets of another program. An
// address of one route's name stays when the other route is pruned.
func TestUnlistedInSharedSets(t *testing.T) {
	b := newLab(t)
	sh(t, "nft 'add table inet fw; add set inet fw a4 { type ipv4_addr; flags timeout; }; add set inet fw a6 { type ipv6_addr; flags timeout; }'")
	b.start()
	sets := nft.SetPair{Set4: nft.SetRef{Family: "inet", Table: "fw", Name: "a4"}, Set6: nft.SetRef{Family: "inet", Table: "fw", Name: "a6"}}
	req := Requirements{Lists: []string{"mine", "work"}, Uses: []Use{
		{Route: "vpn", Learns: true, Lists: []string{"mine"}, Sets: &sets},
		{Route: "office", Learns: true, Lists: []string{"work"}, Sets: &sets},
	}}
	if err := b.c.Require(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for route, r := range b.route {
		b.route[route] = r.Into(sets)
	}
	b.learn("vpn", "a.example.", time.Hour, "8.8.8.8")
	b.learn("office", "work.example.", time.Hour, "8.8.4.4")
	b.learn("office", "unlisted.example.", time.Hour, "9.9.9.9")
	pruned := 0
	for _, route := range []string{"vpn", "office"} {
		n, err := b.c.pruneRoute(t.Context(), route)
		if err != nil {
			t.Error(err)
		}
		pruned += n
	}
	out := sh(t, "nft list set inet fw a4")
	for a, stays := range map[string]bool{"8.8.8.8": true, "8.8.4.4": true, "9.9.9.9": false} {
		if strings.Contains(out, a) != stays {
			t.Errorf("%s is there: %v; %d pruned", a, !stays, pruned)
		}
	}
}
