//go:build linux

package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab/hosts"
)

// EchoPort is where every host of the lab tells a client its source address.
const EchoPort = hosts.EchoPort

// Host is a machine of the lab with what a person at its keyboard does: look names
// up, connect, fetch. All methods may be called from any goroutine.
type Host struct {
	*Namespace
	lab *Lab
}

// Dig runs Debian's dig and returns what it printed. Without a "@server" in args it
// asks the box.
func (h *Host) Dig(args ...string) (string, error) {
	h.t.Helper()
	Need(h.t, "dig")
	command := []string{"dig", "+tries=1", "+time=10"}
	if !strings.Contains(" "+strings.Join(args, " "), " @") {
		command = append(command, "@"+h.lab.BoxLAN.V4.String())
	}
	return h.Exec(append(command, args...)...)
}

// Query asks the box over udp, tcp or both families' addresses ("udp6", "tcp6") and
// gives up after 10 s. A truncated answer is returned as it is.
func (h *Host) Query(m *dns.Msg, proto string) (*dns.Msg, error) {
	at := h.lab.BoxLAN.V4
	if strings.HasSuffix(proto, "6") {
		at = h.lab.BoxLAN.V6
	}
	return h.QueryAt(netip.AddrPortFrom(at, 53), m, proto)
}

// QueryAt is Query of any server.
func (h *Host) QueryAt(server netip.AddrPort, m *dns.Msg, proto string) (*dns.Msg, error) {
	return h.exchange(strings.TrimRight(proto, "46"), server, m, dialLimit)
}

func (n *Namespace) exchange(network string, server netip.AddrPort, m *dns.Msg, limit time.Duration) (*dns.Msg, error) {
	conn, err := n.DialWith(net.Dialer{Timeout: limit}, network, server.String())
	if err != nil {
		return nil, err
	}
	defer closeQuietly(conn)
	c := &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize}
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil { // of what has been sent
		return nil, err
	}
	for {
		reply, err := c.ReadMsg()
		if err != nil || reply.Id == m.Id {
			return reply, err
		}
	}
}

// Resolve asks the box over UDP, and over TCP where the answer is truncated, for the
// A and AAAA records of a name and returns the addresses, IPv4 first. An answer
// other than NOERROR is an error.
func (h *Host) Resolve(name string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
		m.SetEdns0(1232, false)
		reply, err := h.Query(m, "udp")
		if err == nil && reply.Truncated {
			reply, err = h.Query(m, "tcp")
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
		}
		if reply.Rcode != dns.RcodeSuccess {
			return nil, fmt.Errorf("%s %s: %s", name, dns.TypeToString[qtype], dns.RcodeToString[reply.Rcode])
		}
		for _, rr := range reply.Answer {
			switch rr := rr.(type) {
			case *dns.A:
				a, _ := netip.AddrFromSlice(rr.A.To4())
				addrs = append(addrs, a)
			case *dns.AAAA:
				a, _ := netip.AddrFromSlice(rr.AAAA.To16())
				addrs = append(addrs, a)
			}
		}
	}
	return addrs, nil
}

// Connect opens a TCP connection to a host of the lab and asks by which egress it came;
// it gives up after 10 s.
func (h *Host) Connect(to netip.Addr) (Egress, error) { return h.ConnectWithin(to, dialLimit) }

// ConnectWithin is Connect with a limit of one's own.
func (h *Host) ConnectWithin(to netip.Addr, limit time.Duration) (Egress, error) {
	conn, source, err := h.openEcho(to, limit)
	if err != nil {
		return "", err
	}
	return h.lab.Egress(source.Addr()), conn.Close()
}

// openEcho connects to the echo of a host and returns the source that it sees.
func (h *Host) openEcho(to netip.Addr, limit time.Duration) (net.Conn, netip.AddrPort, error) {
	conn, err := h.DialWith(net.Dialer{Timeout: limit}, "tcp", netip.AddrPortFrom(to, EchoPort).String())
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	err = conn.SetDeadline(time.Now().Add(limit))
	var line string
	if err == nil {
		// One line and nothing else comes before we send: the reader holds nothing back.
		line, err = bufio.NewReader(conn).ReadString('\n')
	}
	var source netip.AddrPort
	if err == nil {
		source, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		closeQuietly(conn)
		return nil, netip.AddrPort{}, err
	}
	return conn, source, nil
}

// Ask sends a UDP datagram to a host of the lab, and another one each 2 s while none is
// answered, waits at most 10 s for the answer and tells which way its datagram came.
func (h *Host) Ask(to netip.Addr) (Egress, error) { return h.AskWithin(to, dialLimit) }

// AskWithin is Ask with a limit of one's own.
func (h *Host) AskWithin(to netip.Addr, limit time.Duration) (Egress, error) {
	conn, err := h.Dial("udp", netip.AddrPortFrom(to, EchoPort).String())
	if err != nil {
		return "", err
	}
	defer closeQuietly(conn)
	const again = 2 * time.Second // a datagram is taken for lost then
	buf, n := make([]byte, 512), 0
	for ; n == 0; limit -= again {
		if _, err := conn.Write([]byte("ask")); err != nil {
			return "", err
		}
		_ = conn.SetDeadline(time.Now().Add(min(limit, again))) // of an open socket
		if n, err = conn.Read(buf); err != nil && (limit <= again || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return "", err
		}
	}
	source, _, _ := strings.Cut(string(buf[:n]), " ")
	from, err := netip.ParseAddrPort(source)
	if err != nil {
		return "", err
	}
	return h.lab.Egress(from.Addr()), nil
}

// Flood sends count UDP datagrams of size bytes to a host, one every pause, and
// waits for no answer. It returns how many the kernel took.
func (h *Host) Flood(to netip.Addr, count, size int, pause time.Duration) (int, error) {
	conn, err := h.Dial("udp", netip.AddrPortFrom(to, 9).String()) // 9: discard
	if err != nil {
		return 0, err
	}
	defer closeQuietly(conn)
	sent, data := 0, make([]byte, size)
	for range count {
		// What an ICMP error says about an earlier datagram is not about this one.
		_, err := conn.Write(data)
		if errors.Is(err, unix.ECONNREFUSED) {
			_, err = conn.Write(data)
		}
		if err != nil {
			return sent, err
		}
		sent++
		time.Sleep(pause)
	}
	return sent, nil
}

// Curl fetches a URL with Debian's curl, which looks the name up at the host's own
// resolver (the box, for the client) and trusts the lab's CA, and tells which way it
// went.
func (h *Host) Curl(url string, args ...string) (Egress, error) {
	h.t.Helper()
	Need(h.t, "curl")
	command := append([]string{"curl", "--silent", "--show-error", "--max-time", "30", "--cacert", h.lab.ca.File}, args...)
	out, err := h.Exec(append(command, url)...)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if source, ok := strings.CutPrefix(line, "from "); ok {
			from, err := netip.ParseAddrPort(strings.TrimSpace(source))
			return h.lab.Egress(from.Addr()), err
		}
	}
	return "", fmt.Errorf("%s: no host of the lab answered: %q", url, out)
}

// resolveBy puts a resolv.conf of its own in the machine.
func (h *Host) resolveBy(servers ...netip.Addr) {
	h.t.Helper()
	var text strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&text, "nameserver %s\n", s)
	}
	text.WriteString("options timeout:5 attempts:2\n")
	file := h.lab.write(h.Name+"/resolv.conf", text.String())
	const path = "/etc/resolv.conf"
	var err error
	h.on(func() {
		// Where it is a link into /run its target went with the old /run.
		if target, linked := os.Readlink(path); linked == nil {
			if !filepath.IsAbs(target) {
				target = filepath.Join("/etc", target)
			}
			if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
				err = os.WriteFile(target, nil, 0o644)
			}
		}
		if err == nil {
			err = unix.Mount(file, path, "", unix.MS_BIND, "")
		}
	})
	if err != nil {
		h.t.Fatalf("netlab: %s: %s: %v", h.Name, path, err)
	}
}
