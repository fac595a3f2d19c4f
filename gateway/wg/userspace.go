package wg

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
)

const (
	tunDevice = "/dev/net/tun"
	uapiDir   = "/var/run/wireguard" // of ipc.UAPIOpen, which does not export it
)

// embedded is wireguard-go on a persistent TUN: addresses and kernel routes outlive the
// process, so after a crash the kill switch stays active and the next process adopts the
// link. Through its control socket wg(8) and wgctrl see it like any other.
type embedded struct {
	name string
	dev  *device.Device
	log  *slog.Logger

	mu     sync.Mutex
	closed bool
	socket net.Listener
	served chan struct{} // closed when the socket is no longer served
}

// openEmbedded creates the TUN, or attaches to link, which is one of ours.
func openEmbedded(h *netlink.Handle, name, alias string, link netlink.Link, log *slog.Logger) (*embedded, error) {
	file, err := openTUN(name, link == nil)
	if err != nil {
		return nil, err
	}
	fresh := link == nil
	if fresh {
		// Until it is persistent the TUN ends with its file: a crash in between leaves no
		// link without an alias.
		if link, err = persistTUN(h, name, alias, file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	e, err := startEmbedded(name, file, link.Attrs().MTU, log)
	if err != nil && fresh {
		err = errors.Join(err, h.LinkDel(link))
	}
	return e, err
}

// openTUN attaches to a TUN by name. It is done here and not by tun.CreateTUN
// because that leaks the file where the TUN is busy, and cannot ask for a new one.
func openTUN(name string, fresh bool) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w: load the kernel module tun (modprobe tun), and give a container the device", tunDevice, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("interface %s: name: %w", name, err)
	}
	// The flags of tun.CreateTUN; a TUN can only be attached to with the flags it has.
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if fresh {
		flags |= unix.IFF_TUN_EXCL
	}
	ifr.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("interface %s: %w: in use by another process: end that one first", name, err)
		}
		return nil, fmt.Errorf("interface %s: attach to tun: %w", name, err)
	}
	// Before the file is handed to the poller, which uses it.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// persistTUN makes a new TUN ours and then persistent.
func persistTUN(h *netlink.Handle, name, alias string, file *os.File) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("look up interface %s: %w", name, err)
	}
	if err := h.LinkSetAlias(link, alias); err != nil {
		return nil, fmt.Errorf("interface %s: set alias: %w", name, err)
	}
	if err := disableIPv6Autoconf(h, link); err != nil {
		return nil, err
	}
	if err := h.LinkSetMTU(link, device.DefaultMTU); err != nil {
		return nil, fmt.Errorf("interface %s: set MTU: %w", name, err)
	}
	link.Attrs().MTU = device.DefaultMTU
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var ioctl error
	if err := raw.Control(func(fd uintptr) { ioctl = unix.IoctlSetInt(int(fd), unix.TUNSETPERSIST, 1) }); err != nil {
		return nil, err
	}
	if ioctl != nil {
		return nil, fmt.Errorf("interface %s: make persistent: %w", name, ioctl)
	}
	return link, nil
}

// startEmbedded runs WireGuard on the TUN. It owns the file from then on.
func startEmbedded(name string, file *os.File, mtu int, log *slog.Logger) (*embedded, error) {
	t, err := tun.CreateTUNFromFile(file, mtu)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("interface %s: %w", name, err), file.Close())
	}
	e := &embedded{name: name, log: log, served: make(chan struct{})}
	e.dev = device.NewDevice(t, conn.NewDefaultBind(), &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf:   logDevice(log, name),
	})
	if e.socket, err = listenUAPI(name); err != nil {
		e.dev.Close()
		return nil, err
	}
	go e.serve()
	go func() { // the link was deleted
		<-e.dev.Wait()
		e.closeSocket()
	}()
	return e, nil
}

// logDevice logs errors of WireGuard, the same one at most once a minute: without a WAN
// sending fails every 5 s.
func logDevice(log *slog.Logger, name string) func(format string, args ...any) {
	every := logonce.Every{Interval: time.Minute}
	return func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if strings.HasSuffix(text, "no known endpoint for peer") {
			return // its name is being looked up, and that is logged where it fails
		}
		if ok, _ := every.Allow(text); ok {
			log.Warn(text, "link", name)
		}
	}
}

// listenUAPI opens the control socket. A stale one is replaced; a live one belongs to
// another WireGuard, which wgctrl would configure instead of ours.
func listenUAPI(name string) (net.Listener, error) {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		// The path has no network namespace: a container that shares it is enough.
		return nil, fmt.Errorf("interface %s: control socket %s: %w: end the other userspace WireGuard that has it, or set another link: for the route", name, uapiSocket(name), err)
	}
	defer file.Close() // the listener has its own copy
	l, err := ipc.UAPIListen(name, file)
	if err != nil {
		return nil, fmt.Errorf("interface %s: control socket: %w", name, err)
	}
	return &onceListener{Listener: l}, nil
}

func uapiSocket(name string) string { return filepath.Join(uapiDir, name+".sock") }

// removeUAPI deletes the control socket of a tunnel that no process has open.
func removeUAPI(name string) error {
	err := os.Remove(uapiSocket(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("interface %s: control socket: %w", name, err)
	}
	return nil
}

// onceListener closes its listener once: ipc.UAPIListener closes a file descriptor by
// number, which may be another file's by the second time.
type onceListener struct {
	net.Listener
	once sync.Once
	err  error
}

func (l *onceListener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// serve answers the control socket until the device is closed. It recreates a socket that
// was removed, because without one nothing can be configured.
func (e *embedded) serve() {
	defer close(e.served)
	for {
		e.mu.Lock()
		l := e.socket
		e.mu.Unlock()
		e.accept(l)
		for {
			e.mu.Lock()
			if e.closed {
				e.mu.Unlock()
				return
			}
			again, err := listenUAPI(e.name)
			if err == nil {
				e.socket = again
			}
			e.mu.Unlock()
			if err == nil {
				e.log.Info("control socket was removed, recreated", "link", e.name)
				break
			}
			e.log.Warn("control socket was removed", "link", e.name, "error", err)
			select {
			case <-time.After(time.Second):
			case <-e.dev.Wait():
			}
		}
	}
}

// accept serves one listener until it ends. ipc.UAPIListener has two goroutines that each
// return one last error; accept takes both, so that neither leaks.
func (e *embedded) accept(l net.Listener) {
	for ended := 0; ended < 2; {
		c, err := l.Accept()
		switch {
		case err != nil:
			ended++
			l.Close()
		case ended > 0:
			c.Close()
		default:
			go e.dev.IpcHandle(c)
		}
	}
}

func (e *embedded) closeSocket() {
	e.mu.Lock()
	e.closed = true
	e.socket.Close()
	e.mu.Unlock()
	<-e.served
}

// close ends the process's part. The persistent TUN stays, without a carrier.
func (e *embedded) close() {
	e.closeSocket()
	e.dev.Close()
}
