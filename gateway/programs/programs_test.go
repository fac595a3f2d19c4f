package programs

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

func TestFind(t *testing.T) {
	found := Find([]gateway.Clients{
		{Name: "p", Users: []string{"daemon", "4242", "no-such-user"}, Groups: []string{"daemon", "no-such-group"}, Cgroups: []string{"no.slice/such.service"}},
		{Name: "tv", Links: []string{"lan0"}},
	})
	p, ok := found["p"]
	if len(found) != 1 || !ok || !slices.Equal(p.UIDs, []uint32{1, 4242}) || !slices.Equal(p.GIDs, []uint32{1}) {
		t.Errorf("%+v", found)
	}
	missing := strings.Join(p.Missing, "\n")
	for _, want := range []string{"user no-such-user: unknown: not in /etc/passwd", "group no-such-group: unknown: not in /etc/group", "cgroup no.slice/such.service: "} {
		if !strings.Contains(missing, want) {
			t.Errorf("missing: %s\nwant: %s", missing, want)
		}
	}
}

// A cgroup that is made again is another one, and is followed.
func TestWatchFollowsCgroup(t *testing.T) {
	root, err := cgroupRoot()
	if err != nil {
		t.Skip(err)
	}
	slice, err := os.MkdirTemp(root, "nameroute-test-")
	if err != nil {
		t.Skip(err)
	}
	name := filepath.Base(slice) + "/a.service"
	dir := filepath.Join(root, name)
	t.Cleanup(func() { os.Remove(dir); os.Remove(slice) })
	classes := []gateway.Clients{{Name: "p", Cgroups: []string{name}}}
	ids := make(chan uint64, 100)
	go Watch(t.Context(), func() []gateway.Clients { return classes }, nil, slog.Default(), func() {
		id := uint64(0)
		for _, g := range Find(classes)["p"].Cgroups {
			id = g.ID
		}
		ids <- id
	})
	await := func(what string, ok func(id uint64) bool) (id uint64) {
		t.Helper()
		for limit := time.After(30 * time.Second); ; {
			select {
			case id = <-ids:
				if ok(id) {
					return id
				}
			case <-limit:
				t.Fatalf("%s: not seen", what)
			}
		}
	}
	await("none yet", func(id uint64) bool { return id == 0 })
	var last uint64
	for range 2 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		last = await("made", func(id uint64) bool { return id != 0 && id != last })
		if g, err := cgroup(name); err != nil || g.ID != last || g.Level != 2 {
			t.Errorf("%+v, %v: want %d", g, err, last)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		await("removed", func(id uint64) bool { return id == 0 })
	}
}
