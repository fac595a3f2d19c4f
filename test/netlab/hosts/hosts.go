//go:build linux

// Package hosts serves what the lab's internet hosts answer: their clients' source
// addresses, over TCP, UDP, HTTP and HTTPS, with certificates of the lab's own authority.
package hosts

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Ports on which a host of the lab tells a client its source address.
const (
	EchoPort  = 7   // TCP: a line with the source, then an echo. UDP: "SOURCE PAYLOAD"
	HTTPPort  = 80  // "from SOURCE", "to ADDRESS", "host NAME", one a line
	HTTPSPort = 443 // the same; also UDP, as on EchoPort
)

// Namespace is a machine that hosts are served on.
type Namespace interface {
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
}

// Serve answers on all addresses that the namespace owns.
func (a *Authority) Serve(n Namespace) {
	a.t.Helper()
	for _, port := range []int{EchoPort, HTTPPort, HTTPSPort} {
		l, err := n.Listen("tcp", fmt.Sprintf("[::]:%d", port))
		if err != nil {
			a.t.Fatalf("netlab: hosts: %v", err)
		}
		switch port {
		case EchoPort:
			go echoStreams(l)
			a.t.Cleanup(func() { closeQuietly(l) })
			continue
		case HTTPSPort:
			l = tls.NewListener(l, a.TLS("internet.example"))
		}
		server := &http.Server{Handler: http.HandlerFunc(tellSource), ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = server.Serve(l) }() // until it is closed
		a.t.Cleanup(func() { closeQuietly(server) })
	}
	for _, port := range []int{EchoPort, HTTPSPort} {
		a.echoDatagrams(n, port)
	}
}

// closeQuietly closes what is no longer used at the end of a test.
func closeQuietly(c io.Closer) { _ = c.Close() }

func tellSource(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "from %s\nto %s\nhost %s\n", r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey), r.Host)
}

func echoStreams(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		go func() {
			defer closeQuietly(conn)
			if _, err := fmt.Fprintln(conn, conn.RemoteAddr()); err == nil {
				_, _ = io.Copy(conn, conn) // until the client is gone
			}
		}()
	}
}

// echoDatagrams answers from the address that was asked: a host with millions of
// addresses has no other way to be recognised.
func (a *Authority) echoDatagrams(n Namespace, port int) {
	a.t.Helper()
	c4, err4 := n.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", port))
	c6, err6 := n.ListenPacket("udp6", fmt.Sprintf("[::]:%d", port))
	if err := errors.Join(err4, err6); err != nil {
		a.t.Fatalf("netlab: hosts: %v", err)
	}
	a.t.Cleanup(func() { closeQuietly(c4); closeQuietly(c6) })
	p4, p6 := ipv4.NewPacketConn(c4), ipv6.NewPacketConn(c6)
	err := errors.Join(p4.SetControlMessage(ipv4.FlagDst, true), p6.SetControlMessage(ipv6.FlagDst, true))
	if err != nil {
		a.t.Fatalf("netlab: hosts: %v", err)
	}
	go echoLoop(func(b []byte) (int, func([]byte), net.Addr, error) {
		k, cm, from, err := p4.ReadFrom(b)
		return k, func(reply []byte) {
			_, _ = p4.WriteTo(reply, &ipv4.ControlMessage{Src: cm.Dst}, from)
		}, from, err
	})
	go echoLoop(func(b []byte) (int, func([]byte), net.Addr, error) {
		k, cm, from, err := p6.ReadFrom(b)
		return k, func(reply []byte) {
			_, _ = p6.WriteTo(reply, &ipv6.ControlMessage{Src: cm.Dst}, from)
		}, from, err
	})
}

// echoLoop answers datagrams until the socket is closed. A reply that cannot be
// sent is lost, as on any network.
func echoLoop(receive func([]byte) (int, func([]byte), net.Addr, error)) {
	buf := make([]byte, 64<<10)
	for {
		n, reply, from, err := receive(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			reply(append([]byte(from.String()+" "), buf[:n]...))
		}
	}
}
