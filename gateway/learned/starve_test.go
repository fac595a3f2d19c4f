package learned

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/test/netlab/child"
	"golang.org/x/sys/unix"
)

// TestOutOfFiles: a process that has no file descriptor left goes on learning, says
// what it cannot do, and recovers by itself when there are some again.
func TestOutOfFiles(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		open(t, Options{Force: m}) // skips what this kernel cannot, and cleans up
		if p := child.Start(t, "starve", string(m)); p.Output != "ready" {
			t.Error(p.Output)
		}
	})
}

// hoard opens files until no more can be opened, and returns what closes n of them.
func hoard(t *testing.T) (release func(n int)) {
	t.Helper()
	var all []*os.File
	for {
		f, err := os.Open("/dev/null")
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return func(n int) {
		for _, f := range all[:min(n, len(all))] {
			f.Close()
		}
		all = all[min(n, len(all)):]
	}
}

func childStarves(t *testing.T, mode string) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var told losses
	k, err := Open(Options{Table: gateway.TableName, Force: nft.Mode(mode), OnLoss: told.add})
	if err != nil {
		t.Fatal(err)
	}
	other, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")

	release := hoard(t)
	learn(t, k, vpn, time.Hour, "8.8.4.4")
	_, err = k.Apply(t.Context(), firewall.Desired(small()))
	if got, want := fmt.Sprint(err), "apply nft table inet nameroute: open netlink socket: socket: too many open files"; got != want {
		t.Fatalf("apply: %s\nwant %s", got, want)
	}
	if mode == string(nft.ModePlain) {
		deleteTable(t, other)
		eventually(t, time.Second*slack, func() bool { return len(told.seen()) > 0 })
		if err := told.seen()[0].Err; !errors.Is(err, unix.EMFILE) {
			t.Fatalf("told %v", err)
		}
		if err := learnInto(k, t.Context(), vpn, addrs("9.9.9.9"), time.Hour, time.Hour); !errors.Is(err, unix.EMFILE) {
			t.Fatalf("learned into a table that is gone: %v", err)
		}
	}
	release(20)
	eventually(t, 6*time.Second, func() bool {
		return learnInto(k, t.Context(), vpn, addrs("9.9.9.9"), time.Hour, time.Hour) == nil
	})

	// The socket breaks when there is none to take its place.
	if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
		t.Fatal(err)
	}
	again := hoard(t)
	err = learnInto(k, t.Context(), vpn, addrs("1.1.1.1"), time.Hour, time.Hour)
	if got, want := fmt.Sprint(err), "learn: open netlink socket: socket: too many open files"; got != want {
		t.Fatalf("learn: %s\nwant %s", got, want)
	}
	again(20)
	learn(t, k, vpn, time.Hour, "1.1.1.1")
	for _, a := range []string{"8.8.8.8", "8.8.4.4", "9.9.9.9", "1.1.1.1", "2606:4700::1"} {
		if got := inKernel(t, k, *vpn.Of(addr(a)), a); !about(got, time.Hour) {
			t.Fatalf("%s lives %v", a, got)
		}
	}
	fmt.Println("ready")
}

// deleteTable deletes our table without opening a file.
func deleteTable(t *testing.T, conn *netlink.Conn) {
	t.Helper()
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.NFTA_TABLE_NAME, "nameroute")
	attrs, err := ae.Encode()
	if err != nil {
		t.Fatal(err)
	}
	batch := func(typ netlink.HeaderType) netlink.Message {
		return netlink.Message{Header: netlink.Header{Type: typ, Flags: netlink.Request}, Data: []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES}}
	}
	if _, err := conn.SendMessages([]netlink.Message{
		batch(unix.NFNL_MSG_BATCH_BEGIN),
		{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE, Flags: netlink.Request | netlink.Acknowledge}, Data: append([]byte{unix.NFPROTO_INET, 0, 0, 0}, attrs...)},
		batch(unix.NFNL_MSG_BATCH_END),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Receive(); err != nil {
		t.Fatal(err)
	}
}

// TestSocketIsReplaced: a connection that broke is replaced, and nothing is lost.
func TestSocketIsReplaced(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learn(t, k, vpn, time.Hour, "8.8.8.8")
		if err := k.do(t.Context(), func() error { k.broken = true; return nil }); err != nil {
			t.Fatal(err)
		}
		learn(t, k, vpn, time.Hour, "9.9.9.9", "2606:4700::1")
		if n := apply(t, k, small()); n != 0 {
			t.Errorf("%d changes", n)
		}
		for _, a := range []string{"8.8.8.8", "9.9.9.9", "2606:4700::1"} {
			if got := inKernel(t, k, *vpn.Of(addr(a)), a); !about(got, time.Hour) {
				t.Errorf("%s lives %v", a, got)
			}
		}
	})
}

// TestChild is not a test: it is the main function of the processes that are starved.
func TestChild(t *testing.T) {
	child.Main(t, map[string]func(t *testing.T, arg string){"starve": childStarves})
}
