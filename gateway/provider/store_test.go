package provider

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

const otherPeer = "[Peer]\nPublicKey = " + keyTwo + "\nAllowedIPs = 0.0.0.0/0\nEndpoint = 192.0.2.2:51820\n"

// desk is a route's file and the state directory beside it.
type desk struct {
	t     *testing.T
	state string
	route gateway.Route
}

func newDesk(t *testing.T) *desk {
	dir := t.TempDir()
	return &desk{t, filepath.Join(dir, "state"), gateway.Route{
		Name: "vpn", Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: filepath.Join(dir, "wg0.conf")},
	}}
}

// write replaces the route's file.
func (d *desk) write(text string) {
	d.t.Helper()
	next := d.route.Egress.File + ".new"
	if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, d.route.Egress.File)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) save(s *Store) {
	d.t.Helper()
	if err := s.Save(d.route); err != nil {
		d.t.Fatal(err)
	}
}

// want loads the file and wants the first peer's key, "" for no content at all, and
// the words in the error, "" for none.
func (d *desk) want(s *Store, key, problem string) *File {
	d.t.Helper()
	f := s.Load(d.route)
	got := ""
	if f.Conf != nil {
		got = f.Conf.Peers[0].PublicKey.String()
	}
	if got != key {
		d.t.Errorf("in use is the file with peer %q, want %q", got, key)
	}
	if (f.Err == nil) != (problem == "") || f.Err != nil && !strings.Contains(f.Err.Error(), problem) {
		d.t.Errorf("error %v, want %q in it", f.Err, problem)
	}
	if s.Load(d.route) != f {
		d.t.Error("another File, although nothing has changed")
	}
	return f
}

func TestStoreKeepsTheLastGoodFile(t *testing.T) {
	d := newDesk(t)
	s := NewStore(d.state)
	d.want(s, "", "not there: want the provider's WireGuard file")
	d.write("[Pear]\n")
	d.want(s, "", "wg0.conf:1: [Pear]: unknown section")
	d.write(head + peer)
	good := d.want(s, keyPeer, "")
	d.write(head + "[Pear]\n")
	if bad := d.want(s, keyPeer, "[Pear]"); bad.Conf != good.Conf {
		t.Error("the last good content was read again: what depends on it would begin anew")
	}
	if err := os.Remove(d.route.Egress.File); err != nil {
		t.Fatal(err)
	}
	d.want(s, keyPeer, "not there")
	d.write(head + otherPeer)
	d.want(s, keyTwo, "")
}

// A process that starts while the file is bad uses the copy that the sidecar saved, and
// one that runs uses a later copy than what it has read itself.
func TestStoreUsesTheCopyOfAnotherProcess(t *testing.T) {
	d := newDesk(t)
	writer, reader := NewStore(d.state), NewStore(d.state)
	d.write(head + peer)
	d.want(writer, keyPeer, "")
	d.save(writer)
	d.want(reader, keyPeer, "")
	d.write(head + otherPeer)
	d.want(writer, keyTwo, "")
	d.save(writer)
	d.write("[Pear]\n")
	d.want(writer, keyTwo, "[Pear]")
	d.want(reader, keyTwo, "[Pear]")
	d.want(NewStore(d.state), keyTwo, "[Pear]")
	d.save(writer) // nothing: the file is bad
	d.want(NewStore(d.state), keyTwo, "[Pear]")

	// The copy is another's secret key, and of this file only.
	copies, err := filepath.Glob(filepath.Join(d.state, "wireguard", "vpn-*.conf"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies %v, %v, want one", copies, err)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	moved := *d
	moved.route.Egress.File += ".other"
	moved.want(NewStore(d.state), "", "not there")
}

// A copy appears after a reader has looked for it.
func TestStoreSeesALaterCopy(t *testing.T) {
	d := newDesk(t)
	d.write(head + peer)
	writer := NewStore(d.state)
	d.want(writer, keyPeer, "")
	d.write("[Pear]\n")
	reader := NewStore(d.state)
	d.want(reader, "", "[Pear]")
	d.write(head + peer)
	d.want(writer, keyPeer, "")
	d.save(writer)
	d.write("[Pear]\n")
	d.want(reader, keyPeer, "[Pear]")
}

// A disk that is full must not bring back an older tunnel.
func TestStorePrefersWhatItCouldNotSave(t *testing.T) {
	d := newDesk(t)
	s := NewStore(d.state)
	d.write(head + peer)
	d.want(s, keyPeer, "")
	d.save(s)
	d.write(head + otherPeer)
	d.want(s, keyTwo, "")
	dir := filepath.Join(d.state, "wireguard")
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(d.route); err == nil {
		t.Error("saved into a directory that is a file")
	}
	if err := errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700), os.WriteFile(s.copyOf(d.route), []byte(head+peer), 0o600)); err != nil {
		t.Fatal(err)
	}
	d.write("[Pear]\n")
	d.want(s, keyTwo, "[Pear]")
}

func TestStoreIgnoresADamagedCopy(t *testing.T) {
	d := newDesk(t)
	d.write(head + peer)
	s := NewStore(d.state)
	d.want(s, keyPeer, "")
	d.save(s)
	if err := os.WriteFile(s.copyOf(d.route), []byte("\x00\x01"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.write("[Pear]\n")
	d.want(s, keyPeer, "[Pear]")
	d.want(NewStore(d.state), "", "[Pear]")
}

// What is written again as it was disturbs nothing.
func TestStoreSeesNoChangeInATouchedFile(t *testing.T) {
	d := newDesk(t)
	s := NewStore(d.state)
	for _, text := range []string{head + peer, "[Pear]\n"} {
		d.write(text)
		before := s.Load(d.route)
		d.write(text)
		if s.Load(d.route) != before {
			t.Errorf("%q: another File", text)
		}
	}
}

// What is no file in place of a copy is neither waited for nor in the way of the next copy.
func TestStoreReplacesWhatIsNoCopy(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"pipe":      func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"directory": func(file string) error { return os.MkdirAll(filepath.Join(file, "sub"), 0o700) },
	} {
		d := newDesk(t)
		d.write(head + peer)
		s := NewStore(d.state)
		d.want(s, keyPeer, "")
		d.save(s)
		if err := errors.Join(os.Remove(s.copyOf(d.route)), spoil(s.copyOf(d.route))); err != nil {
			t.Fatal(err)
		}
		d.write("[Pear]\n")
		d.want(NewStore(d.state), "", "[Pear]")
		d.write(head + peer)
		again := NewStore(d.state)
		d.want(again, keyPeer, "")
		d.save(again)
		d.write("[Pear]\n")
		d.want(NewStore(d.state), keyPeer, "[Pear]")
		if err := again.Prune([]gateway.Route{d.route}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := again.Prune(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStoreChecksHooks(t *testing.T) {
	d := newDesk(t)
	s := NewStore(d.state)
	d.write(head + "PostUp = true\n" + peer)
	f := d.want(s, "", "hook commands are not run")
	if !errors.As(f.Err, new(problem.Problems)) {
		t.Errorf("%T, want problem.Problems", f.Err)
	}
	d.route.IgnoreHooks = true
	d.want(s, keyPeer, "")
}

func TestStorePrune(t *testing.T) {
	d := newDesk(t)
	s := NewStore(d.state)
	d.write(head + peer)
	d.want(s, keyPeer, "")
	d.save(s)
	gone := s.copyOf(gateway.Route{Name: "gone"})
	if err := os.WriteFile(gone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	exists := func(path string) bool { return stat(path) != nil }
	if err := s.Prune([]gateway.Route{d.route}); err != nil || exists(gone) || !exists(s.copyOf(d.route)) {
		t.Errorf("%v; the copy of a route that is gone is there: %v, that of the other: %v", err, exists(gone), exists(s.copyOf(d.route)))
	}
	for range 2 {
		if err := s.Prune(nil); err != nil || exists(s.dir) {
			t.Errorf("%v; the directory is there: %v", err, exists(s.dir))
		}
	}
}

func TestStoreOfOtherEgresses(t *testing.T) {
	f := NewStore(t.TempDir()).Load(gateway.Route{Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "tun0"}})
	if f.Conf != nil || f.Err != nil {
		t.Errorf("got %+v, want nothing", f)
	}
}

// Reading a pipe would wait for ever.
func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}
