package resolvers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Solicitations of a link that is new to us (RFC 4861 section 10).
const (
	solicitations   = 3
	betweenSolicits = 4 * time.Second
)

// Advertisements follows the resolvers of router advertisements and keeps them in a file.
type Advertisements struct {
	File      string                 // AdvertisedFile
	Solicited func(link string) bool // which links may have routers that are asked; not the LAN's
	Log       *slog.Logger

	heard advertised
	links map[int]*listening
	wrote []advertisement
	err   string
}

// listening is a link with a carrier.
type listening struct {
	name string
	left int       // solicitations
	next time.Time // when the next one is due
}

// Run follows them until the context ends.
func (a *Advertisements) Run(ctx context.Context) {
	if text, err := readTail(a.File, false); err == nil {
		a.heard.all = parseAdvertisements(text)
		a.wrote = slices.Clone(a.heard.all)
	}
	for ctx.Err() == nil {
		if err := a.follow(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, unix.ENOBUFS) {
			a.report(fmt.Errorf("router advertisements are not followed: %w", err))
		}
		sleep(ctx, interval)
	}
}

// message is one of the kernel's about an option of a router advertisement.
type message struct {
	index    int
	router   netip.Addr
	servers  []netip.Addr
	lifetime uint32
}

// follow listens until it cannot go on.
func (a *Advertisements) follow(ctx context.Context) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_ND_USEROPT)
	if err != nil {
		return err
	}
	received, end, done := make(chan message), make(chan error, 1), make(chan struct{})
	defer close(done)
	defer s.Close()
	go func() { end <- receive(s, received, done) }()
	a.links = map[int]*listening{}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	a.look()
	for {
		select {
		case m := <-received:
			if link := a.links[m.index]; link != nil {
				a.heard.hear(m.index, link.name, m.router, m.servers, m.lifetime, sinceBoot())
				link.left = 0
			}
		case <-tick.C:
			a.look()
		case err := <-end:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// look does what is due, once a second, however many advertisements come.
func (a *Advertisements) look() {
	a.lookAtLinks()
	a.heard.expire(sinceBoot())
	a.write()
}

func receive(s *nl.NetlinkSocket, to chan<- message, done <-chan struct{}) error {
	for {
		msgs, from, err := s.Receive()
		if err != nil {
			return err
		}
		for _, m := range msgs {
			if from.Pid != nl.PidKernel || m.Header.Type != unix.RTM_NEWNDUSEROPT {
				continue
			}
			if option, ok := parseOption(m); ok {
				select {
				case to <- option:
				case <-done:
					return nil
				}
			}
		}
	}
}

// Layout of struct nduseroptmsg and of the option RDNSS (RFC 8106 section 5.1).
const (
	userOptionHeader = 16
	optionRDNSS      = 25
	rdnssHeader      = 8
	attrSourceAddr   = 1 // NDUSEROPT_SRCADDR
)

// parseOption reads struct nduseroptmsg: family, pad, length of the options, index, type
// and code of the ICMP message, pads; then the option, then attributes.
func parseOption(m syscall.NetlinkMessage) (out message, ok bool) {
	b := m.Data
	if len(b) < userOptionHeader || b[0] != unix.AF_INET6 || b[8] != byte(ipv6.ICMPTypeRouterAdvertisement) {
		return out, false
	}
	length := int(binary.NativeEndian.Uint16(b[2:]))
	out.index = int(binary.NativeEndian.Uint32(b[4:]))
	if length < rdnssHeader || len(b) < userOptionHeader+length {
		return out, false
	}
	option, rest := b[userOptionHeader:userOptionHeader+length], b[userOptionHeader+length:]
	if option[0] != optionRDNSS || int(option[1])*8 != length {
		return out, false
	}
	out.lifetime = binary.BigEndian.Uint32(option[4:])
	for at := rdnssHeader; at+16 <= length; at += 16 {
		server := netip.AddrFrom16([16]byte(option[at : at+16]))
		if !server.IsUnspecified() && !server.IsLoopback() && !server.IsMulticast() && !server.Is4In6() {
			out.servers = append(out.servers, server)
		}
	}
	for len(rest) >= unix.SizeofRtAttr {
		size, kind := int(binary.NativeEndian.Uint16(rest)), binary.NativeEndian.Uint16(rest[2:])
		if size < unix.SizeofRtAttr || size > len(rest) {
			break
		}
		if kind == attrSourceAddr && size == unix.SizeofRtAttr+16 {
			out.router = netip.AddrFrom16([16]byte(rest[unix.SizeofRtAttr:size]))
		}
		rest = rest[min(len(rest), (size+3)&^3):]
	}
	return out, true
}

// lookAtLinks forgets links that have lost their carrier, and solicits the routers of those
// that are new: the kernel has asked already, or does not, once the box forwards.
func (a *Advertisements) lookAtLinks() {
	links, err := net.Interfaces()
	if err != nil {
		return
	}
	const want = net.FlagUp | net.FlagRunning | net.FlagMulticast
	now := map[int]string{}
	for _, l := range links {
		if l.Flags&want == want && l.Flags&net.FlagLoopback == 0 {
			now[l.Index] = l.Name
		}
	}
	for _, h := range slices.Clone(a.heard.all) {
		if now[h.index] != h.link {
			a.heard.leave(h.index)
		}
	}
	for index, l := range a.links {
		if now[index] != l.name {
			delete(a.links, index)
		}
	}
	for index, name := range now {
		l := a.links[index]
		if l == nil {
			l = &listening{name: name}
			if a.links[index] = l; a.Solicited(name) {
				l.left = solicitations
			}
		}
		if l.left > 0 && !time.Now().Before(l.next) {
			l.left, l.next = l.left-1, time.Now().Add(betweenSolicits)
			if err := solicit(index, name); err != nil && errors.Is(err, os.ErrPermission) {
				a.report(fmt.Errorf("routers are not asked for their resolvers, which they advertise by themselves within minutes: %w", err))
			}
		}
	}
}

// solicit sends a router solicitation (RFC 4861 section 4.1). Without a link-local address
// it fails, and the next one may not.
func solicit(index int, name string) error {
	c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	defer c.Close()
	p := ipv6.NewPacketConn(c)
	var none ipv6.ICMPFilter
	none.SetAll(true)
	if err := errors.Join(p.SetICMPFilter(&none), p.SetMulticastHopLimit(255), p.SetMulticastInterface(&net.Interface{Index: index, Name: name})); err != nil {
		return err
	}
	solicitation := []byte{byte(ipv6.ICMPTypeRouterSolicitation), 0, 0, 0, 0, 0, 0, 0}
	_, err = p.WriteTo(solicitation, nil, &net.IPAddr{IP: net.ParseIP("ff02::2"), Zone: strconv.Itoa(index)})
	return err
}

// write keeps what is known in the file, where it has changed, or the file is gone.
func (a *Advertisements) write() {
	same := func(x, y advertisement) bool {
		return x.index == y.index && x.link == y.link && x.router == y.router && x.server == y.server && x.ends/time.Second == y.ends/time.Second
	}
	if slices.EqualFunc(a.wrote, a.heard.all, same) {
		if _, err := os.Lstat(a.File); err == nil || len(a.heard.all) == 0 {
			return
		}
	}
	if err := writeAdvertisements(a.File, a.heard.all); err != nil {
		a.report(fmt.Errorf("resolvers of router advertisements: %w", err))
		return
	}
	a.wrote = slices.Clone(a.heard.all)
}

// report logs an error once.
func (a *Advertisements) report(err error) {
	if a.err != err.Error() {
		a.err = err.Error()
		a.Log.Warn(a.err)
	}
}
