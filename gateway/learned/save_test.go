package learned

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

var routes = map[string]nft.SetPair{"vpn": vpn}

// TestSave: after a reboot the sets are what they were; where the kernel still has its
// elements, they stay as they are. Names come back with them.
func TestSave(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		file := filepath.Join(t.TempDir(), "state", "learned")
		first := open(t, Options{Force: m})
		apply(t, first, small())
		learnFor(t, first, "a.example.", time.Hour, "8.8.8.8", "2606:4700::1")
		learn(t, first, vpn, time.Minute, "9.9.9.9")
		if n := len(first.Learned(vpn.Set4)); first.Changes() == 0 || n != 2 || len(first.Learned(vpn.Set6)) != 1 {
			t.Fatalf("%d changes, %d elements", first.Changes(), n)
		}
		if err := first.Save(file, routes, true); err != nil {
			t.Fatal(err)
		}
		learn(t, first, vpn, 2*time.Hour, "9.9.9.9") // after it was stored
		for _, reboot := range []bool{false, true} {
			if reboot {
				if err := first.Remove(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			k := openMore(t, Options{Force: m})
			if err := k.Load(t.Context(), file, pairsOf(routes), 24*time.Hour); err != nil {
				t.Fatal(err)
			}
			if known(k, &vpn, addrs("8.8.8.8"), time.Second) {
				t.Error("known before it is in the kernel")
			}
			applyTwice(t, k, small())
			want := map[string]time.Duration{"8.8.8.8": time.Hour, "2606:4700::1": time.Hour, "9.9.9.9": 2 * time.Hour}
			if reboot {
				want["9.9.9.9"] = time.Minute
			}
			for a, want := range want {
				if got := inKernel(t, k, *vpn.Of(addr(a)), a); !about(got, want) {
					t.Errorf("reboot %v: %s lives %v, want %v", reboot, a, got, want)
				}
				if !known(k, &vpn, addrs(a), want-3*time.Second) {
					t.Errorf("reboot %v: %s is not known", reboot, a)
				}
			}
			if got := k.Names(vpn.Set4, addr("8.8.8.8")); !slices.Equal(got, []string{"a.example."}) {
				t.Errorf("reboot %v: names %v", reboot, got)
			}
			if got := k.Names(vpn.Set4, addr("9.9.9.9")); got != nil {
				t.Errorf("reboot %v: names %v of an address without any", reboot, got)
			}
			first = k
		}
		if n, err := first.Prune(t.Context(), vpn, listed()); n != 2 || err != nil {
			t.Errorf("%d pruned, %v", n, err)
		}
	})
}

// TestSaveWithoutNames: after a crash the names are not known, and nothing is pruned.
func TestSaveWithoutNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned")
	s, _ := openFake(t)
	learnFor(t, s, "a.example.", time.Hour, "8.8.8.8")
	if err := s.Save(file, routes, false); err != nil {
		t.Fatal(err)
	}
	heir, _ := openFake(t)
	heir.track(vpn.Set4).trusted.Store(false)
	if err := heir.Load(t.Context(), file, pairsOf(routes), time.Hour); err != nil {
		t.Fatal(err)
	}
	heir.track(vpn.Set4).trusted.Store(true)
	learnFor(t, heir, "b.example.", time.Minute, "8.8.8.8")
	if n, err := heir.Prune(t.Context(), vpn, listed()); n != 0 || err != nil {
		t.Errorf("%d pruned, %v", n, err)
	}
	if got := heir.Learned(vpn.Set4); len(got) != 1 || !about(got[0].Left, time.Hour) {
		t.Errorf("loaded %v", got)
	}
}

func TestLoadErrors(t *testing.T) {
	s, _ := openFake(t)
	file := filepath.Join(t.TempDir(), "learned")
	if err := s.Load(t.Context(), file, pairsOf(routes), time.Hour); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(t.Context(), file, pairsOf(routes), time.Hour); !errors.Is(err, ErrForeign) {
		t.Errorf("foreign: %v", err)
	}
}

// TestLoadTooMuch: more than fits does not keep the table from being made, and the set
// keeps what the kernel had.
func TestLoadTooMuch(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		file := filepath.Join(t.TempDir(), "learned")
		s := small()
		s.Config.SetSize = 10
		fake, _ := openFake(t)
		k := open(t, Options{Force: m})
		apply(t, k, s)
		for i := range 10 {
			learn(t, k, vpn, time.Minute, fmt.Sprintf("8.8.8.%d", i))
			learn(t, fake, vpn, time.Hour, fmt.Sprintf("9.9.9.%d", i))
		}
		if err := fake.Save(file, routes, true); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		k = openMore(t, Options{Force: m})
		if err := k.Load(t.Context(), file, pairsOf(routes), time.Hour); err != nil {
			t.Fatal(err)
		}
		apply(t, k, s)
		elems, err := nft.ReadElements(vpn.Set4)
		if err != nil || len(elems) != 10 {
			t.Errorf("%v, %v", elems, err)
		}
		for _, e := range fake.Learned(vpn.Set4) {
			if _, ok := k.Remaining(vpn.Set4, e.Addr); ok {
				t.Errorf("%s is believed to be there", e.Addr)
			}
		}
	})
}

// TestKilledWhileStoring: whenever a process is killed, the file is the old one or the
// new one, and never a reason for a message.
func TestKilledWhileStoring(t *testing.T) {
	if os.Getenv("STORE_INTO") != "" {
		s, _ := openFake(t)
		var as []netip.Addr
		for i := range 5000 {
			as = append(as, netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}))
		}
		if err := s.Ensure(t.Context(), &vpn, "a.example.", as, time.Hour, time.Hour); err != nil {
			t.Fatal(err)
		}
		for {
			if err := s.Save(os.Getenv("STORE_INTO"), routes, true); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "state", "learned")
	for i := range 40 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileStoring$")
		cmd.Env = append(os.Environ(), "STORE_INTO="+file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The first one must have written once; the others die wherever they are.
		for end := time.Now().Add(30 * time.Second); i == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := os.Stat(file); err == nil {
				break
			}
		}
		time.Sleep(time.Duration(20+i) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // that it was killed
		heir, _ := openFake(t)
		heir.track(vpn.Set4).trusted.Store(false)
		if err := heir.Load(t.Context(), file, pairsOf(routes), time.Hour); err != nil || len(heir.Learned(vpn.Set4)) != 5000 {
			t.Fatalf("kill %d: %d addresses, %v", i, len(heir.Learned(vpn.Set4)), err)
		}
	}
	if err := statefile.RemovePending(file); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}

func pairsOf(routes map[string]nft.SetPair) func(string) (nft.SetPair, bool) {
	return func(route string) (nft.SetPair, bool) {
		pair, ok := routes[route]
		return pair, ok
	}
}
