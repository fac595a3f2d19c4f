package policy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// Kind is a set of kinds of change in the kernel.
type Kind uint

// The kinds of change. Lost is reported first of all, and when notifications were lost:
// anything may have changed.
const (
	Links    Kind = 1 << iota // interfaces
	Addrs                     // their addresses
	Defaults                  // a default of any table, or a kernel route with our protocol number
	Networks                  // any other kernel route
	Rules                     // policy rules
	Sysctls                   // forwarding or rp_filter, of an interface or of all
	Lost     = Links | Addrs | Defaults | Networks | Rules | Sysctls
)

// settle is the least time between two calls of changed, and the time after which a call
// is repeated for links and addresses: the kernel sends their notification before it has
// withdrawn the routes, and withdraws those of IPv4 without one.
const settle = 20 * time.Millisecond

// networksPause is the least time between two calls that are for other kernel routes alone.
// A routing daemon changes thousands a second, and hardly ever one that is local. Where
// reading table main takes long, they are so rare that it takes a 25th of the time at most.
const networksPause = 200 * time.Millisecond

func pauseOfNetworks() time.Duration { return max(networksPause, 25*time.Duration(mainCost.Load())) }

// watchBuffer is the size of the socket's receive buffer, in bytes.
const watchBuffer = 4 << 20

// Watch calls changed when something changes in the kernel: at once for the first change
// and then at most every 20 ms, for Networks alone every 200 ms. Its first call, with Lost, comes when it listens already,
// so no change is missed; it starts over by itself when notifications were lost. It
// returns nil when the context ends, and an error when it cannot listen. Calls of changed
// do not overlap.
func Watch(ctx context.Context, changed func(Kind)) error {
	for {
		err := watchOnce(ctx, changed)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // the socket's buffer overflowed
			continue
		default:
			return fmt.Errorf("watch kernel: %w", err)
		}
	}
}

func watchOnce(ctx context.Context, changed func(Kind)) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
		unix.RTNLGRP_IPV4_NETCONF, unix.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return err
	}
	if err := s.SetReceiveBufferSize(watchBuffer, true); err != nil {
		s.Close()
		return fmt.Errorf("receive buffer: %w", err)
	}
	n := &pending{more: make(chan struct{}, 1)}
	end := make(chan error, 1)
	go func() { end <- n.receive(s) }()
	defer s.Close()
	return n.deliver(ctx, end, changed)
}

// pending are the kinds that were received and not yet delivered.
type pending struct {
	kinds atomic.Uint32
	more  chan struct{} // capacity 1
}

// receive reads until the socket is closed. It does not wait for deliver, so the socket's
// buffer stays empty.
func (n *pending) receive(s *nl.NetlinkSocket) error {
	for {
		msgs, from, err := s.Receive()
		if err != nil {
			return err
		}
		if from.Pid != nl.PidKernel {
			continue
		}
		var k Kind
		for _, m := range msgs {
			k |= kindOf(m)
		}
		if k == 0 {
			continue
		}
		if old := n.kinds.Or(uint32(k)); old|uint32(k) == old {
			continue // deliver knows
		}
		select {
		case n.more <- struct{}{}:
		default:
		}
	}
}

func (n *pending) deliver(ctx context.Context, end <-chan error, changed func(Kind)) error {
	fresh, repeat := Lost, Kind(0)
	var networks time.Time // when they were delivered last
	for {
		if fresh&Networks != 0 {
			networks = time.Now()
		}
		changed(fresh | repeat)
		repeat = fresh & (Links | Addrs)
		select {
		case <-time.After(settle):
		case <-ctx.Done():
			return ctx.Err()
		}
		for {
			now := Kind(n.kinds.Load()) | repeat
			early := time.Until(networks.Add(pauseOfNetworks()))
			if now != 0 && (now != Networks || early <= 0) {
				break
			}
			var due <-chan time.Time
			if now != 0 {
				due = time.After(early)
			}
			select {
			case <-n.more:
			case <-due:
			case err := <-end:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		fresh = Kind(n.kinds.Swap(0))
	}
}

// kindOf classifies a notification.
func kindOf(m syscall.NetlinkMessage) Kind {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return Links
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return Addrs
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return Rules
	case unix.RTM_NEWNETCONF:
		return Sysctls
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return routeKind(m.Data)
	}
	return 0
}

// routeKind reads a struct rtmsg: family, dst_len, src_len, tos, table, protocol,
// scope, type, flags.
func routeKind(rtmsg []byte) Kind {
	if len(rtmsg) < unix.SizeofRtMsg {
		return 0
	}
	length, protocol := rtmsg[1], rtmsg[5]
	flags := binary.NativeEndian.Uint32(rtmsg[8:])
	switch {
	case flags&unix.RTM_F_CLONED != 0: // a cache entry
		return 0
	case length == 0 || protocol == gateway.Protocol:
		return Defaults
	}
	return Networks
}
