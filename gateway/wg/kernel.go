package wg

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// createKernelLink creates an interface of the kernel's WireGuard. The error is EOPNOTSUPP
// where the kernel has none.
func createKernelLink(h *netlink.Handle, name, alias string) error {
	return createLink(h, name, alias, func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Wireguard{LinkAttrs: a}
	})
}

// watchLink returns a channel that is closed when the interface is deleted or moved to
// another network namespace, or when stop is closed.
func watchLink(index int, stop <-chan struct{}) (<-chan struct{}, error) {
	updates, done, err := subscribe()
	if err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			again := awaitDeletion(index, updates, stop)
			close(done)
			if !again {
				return
			}
			// Events were lost (ENOBUFS). Subscribe again before looking the link up, so
			// that nothing is missed between the two.
			for {
				if updates, done, err = subscribe(); err == nil {
					break
				}
				select {
				case <-time.After(time.Second):
				case <-stop:
					return
				}
			}
			if link, err := find(netlink.LinkByIndex, index); err == nil && link == nil {
				close(done)
				return
			}
		}
	}()
	return gone, nil
}

func subscribe() (chan netlink.LinkUpdate, chan struct{}, error) {
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	if err := netlink.LinkSubscribe(updates, done); err != nil {
		return nil, nil, fmt.Errorf("subscribe to interfaces: %w", err)
	}
	return updates, done, nil
}

// awaitDeletion reads updates until the link is gone or stop is closed (false), or the
// subscription has ended (true).
func awaitDeletion(index int, updates <-chan netlink.LinkUpdate, stop <-chan struct{}) bool {
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return true
			}
			// A port that leaves a bridge sends RTM_DELLINK too, with AF_BRIDGE.
			if u.Header.Type == unix.RTM_DELLINK && int(u.Index) == index && u.Family == unix.AF_UNSPEC {
				return false
			}
		case <-stop:
			return false
		}
	}
}
