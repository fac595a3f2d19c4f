package wg

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// ErrGone is returned where a tunnel's interface is no longer the one that was opened.
// The tunnel is to be closed and opened again.
var ErrGone = errors.New("the interface is gone")

// Options say how a tunnel is opened.
type Options struct {
	Alias     string        // marks the interface as ours; see Alias
	MTU       int           // bytes; 0 leaves it to the file, or to the path to the endpoints
	Userspace bool          // a new tunnel is embedded, even where the kernel has WireGuard
	Patience  time.Duration // how long a peer that has roamed may be silent; 0 is 15 s
	Log       *slog.Logger  // nil: slog.Default()
}

// Tunnel is a WireGuard interface of ours that this process has open. Its methods may be
// called by several goroutines.
type Tunnel struct {
	name     string
	index    int
	kind     Kind
	opts     Options
	log      *slog.Logger
	nl       *netlink.Handle
	wg       *wgctrl.Client
	embedded *embedded // nil for the kernel's
	gone     <-chan struct{}
	stop     chan struct{}
	stopOnce sync.Once

	mu     sync.Mutex                     // serialises what changes the device
	set    map[wgtypes.Key]netip.AddrPort // endpoints that were set
	want   *Want                          // what was applied last
	trying bool                           // see KeepTrying

	roamers       map[wgtypes.Key]roamer
	recreatePeers bool // those that get another endpoint
}

// Open creates the tunnel's interface, or adopts the existing one of ours with the
// WireGuard (kernel or embedded) that it has. A link of that name that is not ours is
// refused with ErrForeign. Nothing of an existing interface is changed before Apply.
func Open(name string, o Options) (*Tunnel, error) {
	if o.Alias == "" {
		o.Alias = Alias(name)
	}
	t := &Tunnel{name: name, opts: o, log: o.Log, stop: make(chan struct{})}
	if t.log == nil {
		t.log = slog.Default()
	}
	var err error
	if t.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := t.open(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *Tunnel) open() error {
	link, err := find(t.nl.LinkByName, t.name)
	if err != nil {
		return err
	}
	if link != nil {
		kind, ok := kindOf(link)
		if !ok || !ours(link) {
			return foreignError(link)
		}
		t.kind = kind
	} else if err := t.create(); err != nil {
		return err
	}
	if t.kind == Userspace {
		if t.embedded, err = openEmbedded(t.nl, t.name, t.opts.Alias, link, t.log); err != nil {
			return err
		}
	}
	if link, err = find(t.nl.LinkByName, t.name); err != nil {
		return err
	}
	if link == nil {
		return fmt.Errorf("interface %s: %w", t.name, ErrGone)
	}
	t.index = link.Attrs().Index
	if err := t.watch(); err != nil {
		return err
	}
	// After the link: only then is the kernel's module certain to be loaded.
	if t.wg, err = wgctrl.New(); err != nil {
		return fmt.Errorf("open wireguard control: %w", err)
	}
	return nil
}

// create chooses the kind of a new tunnel, and creates the kernel's. The embedded
// WireGuard creates its own.
func (t *Tunnel) create() error {
	t.kind = Userspace
	if t.opts.Userspace {
		return nil
	}
	err := createKernelLink(t.nl, t.name, t.opts.Alias)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.log.Info("kernel has no WireGuard, using the embedded one", "link", t.name)
		return nil
	}
	if err == nil {
		t.kind = Kernel
	}
	return err
}

func (t *Tunnel) watch() (err error) {
	if t.embedded != nil {
		t.gone = t.embedded.dev.Wait()
		return nil
	}
	t.gone, err = watchLink(t.index, t.stop)
	return err
}

// Kind returns which WireGuard runs the tunnel.
func (t *Tunnel) Kind() Kind { return t.kind }

// Gone returns a channel that is closed when the device has ended by itself, because its
// link was deleted: close the tunnel and open it again. Close closes it, too.
func (t *Tunnel) Gone() <-chan struct{} { return t.gone }

// Close ends this process's part and leaves the interface with its addresses and kernel
// routes. The kernel's WireGuard goes on; packets into an embedded tunnel are dropped
// until a process opens it again. Close may be called twice.
func (t *Tunnel) Close() {
	t.stopOnce.Do(func() {
		close(t.stop)
		if t.embedded != nil {
			t.embedded.close()
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.wg != nil {
			if err := t.wg.Close(); err != nil {
				t.log.Warn("close wireguard control", "link", t.name, "error", err)
			}
		}
		t.nl.Close()
	})
}

// link reads the interface that was opened. If it was deleted or renamed the error is
// ErrGone: wgctrl uses names, and would configure whatever has the name now.
func (t *Tunnel) link() (netlink.Link, error) {
	link, err := find(t.nl.LinkByIndex, t.index)
	if err != nil {
		return nil, err
	}
	if link == nil || link.Attrs().Name != t.name {
		return nil, fmt.Errorf("interface %s: %w", t.name, ErrGone)
	}
	return link, nil
}
