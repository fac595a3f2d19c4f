// Package ports tries listeners and finds the programs that hold a port.
package ports

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Explain adds to a listener's error which program uses the port, and the remedy.
func Explain(err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) && !strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		if errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "bind: "+syscall.EACCES.Error()) {
			return exit.With(exit.Denied, fmt.Errorf("%w: ports below 1024 need CAP_NET_BIND_SERVICE: run as root, or grant the capability", err))
		}
		return err
	}
	m := listenPort.FindStringSubmatch(err.Error())
	if m == nil {
		return exit.With(exit.Port, err)
	}
	port, _ := strconv.Atoi(m[2]) // the pattern has digits only
	holders := Holders(uint16(port))
	if len(holders) == 0 {
		return exit.With(exit.Port, fmt.Errorf("%w: port %d is in use by another program", err, port))
	}
	return exit.With(exit.Port, fmt.Errorf("%w: port %d is in use by %s%s", err, port, strings.Join(holders, ", "), Remedy(holders)))
}

// InUse tries each listener and returns an error for each port that another program uses.
func InUse(all []firewall.Listener) []error {
	var errs []error
	reported := map[uint16]bool{}
	for _, l := range all {
		// An address that does not exist yet says nothing about the port.
		if err := Try(l); (IsInUse(err) || errors.Is(err, syscall.EACCES)) && !reported[l.Port] {
			reported[l.Port] = true
			errs = append(errs, Explain(err))
		}
	}
	return errs
}

// Try opens a listener and closes it again.
func Try(l firewall.Listener) error {
	addr := netip.AddrPortFrom(l.Addr, l.Port).String()
	if !l.Addr.IsValid() {
		addr = fmt.Sprintf(":%d", l.Port)
	}
	var c io.Closer
	var err error
	if l.Proto == "udp" {
		c, err = net.ListenPacket(l.Proto, addr)
	} else {
		c, err = net.Listen(l.Proto, addr)
	}
	if err != nil {
		return err
	}
	return c.Close()
}

// IsInUse reports whether a listener failed because its port is in use.
func IsInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// listenPort matches the port in `listen tcp 127.0.0.1:53: bind: address already in use`.
var listenPort = regexp.MustCompile(`listen (tcp|udp)[46]? \S*:(\d+):`)

// Remedy returns what to do about the usual programs on port 53.
func Remedy(holders []string) string {
	all := strings.Join(holders, " ")
	switch {
	case strings.Contains(all, "systemd-resolve"):
		return ": either set DNSStubListener=no in /etc/systemd/resolved.conf and restart systemd-resolved, or bind the blocks to the LAN's address (`bind 192.168.1.1` in each)"
	case strings.Contains(all, "dnsmasq"):
		return ": set port=0 in dnsmasq's configuration (it remains the DHCP server) and restart it"
	case strings.Contains(all, "named"), strings.Contains(all, "unbound"), strings.Contains(all, "nameroute"):
		return ": stop it first, or bind the blocks to other addresses"
	}
	return ": stop it, or bind the blocks to other addresses"
}

// Holders returns the processes with a listening TCP or bound UDP socket on a port.
func Holders(port uint16) []string {
	inodes := map[string]bool{}
	for _, f := range []string{"tcp", "tcp6", "udp", "udp6"} {
		readSockets(filepath.Join("/proc/net", f), func(s socket) {
			if s.local.Port() == port && (s.state == tcpListen || strings.HasPrefix(f, "udp")) {
				inodes["socket:["+s.inode+"]"] = true
			}
		})
	}
	var names []string
	procs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well formed
	for _, p := range procs {
		if pid := filepath.Base(p); pid != strconv.Itoa(os.Getpid()) && holds(p, inodes) {
			comm, _ := statefile.ReadFile(filepath.Join(p, "comm"))
			names = append(names, fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid))
		}
	}
	return names
}

// holds reports whether a process has one of the sockets open.
func holds(proc string, inodes map[string]bool) bool {
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return false // it has ended, or may not be read
	}
	for _, fd := range fds {
		if l, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil && inodes[l] {
			return true
		}
	}
	return false
}

// tcpListen is TCP_LISTEN of the kernel's tcp_states.h.
const tcpListen = 0x0a

type socket struct {
	local netip.AddrPort
	state uint64
	inode string
}

// readSockets reads one of /proc/net's socket tables.
func readSockets(file string, each func(socket)) {
	f, err := statefile.Open(file)
	if err != nil {
		return // a kernel without that family
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the heading
	for lines.Scan() {
		if s, ok := parseSocket(lines.Text()); ok {
			each(s)
		}
	}
}

// parseSocket parses `  0: 0100007F:0035 00000000:0000 0A ... INODE ...`.
func parseSocket(line string) (socket, bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return socket{}, false
	}
	addr, port, ok := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(addr)
	p, err2 := strconv.ParseUint(port, 16, 16)
	state, err3 := strconv.ParseUint(f[3], 16, 8)
	if !ok || errors.Join(err, err2, err3) != nil || len(raw)%4 != 0 {
		return socket{}, false
	}
	for i := 0; i < len(raw); i += 4 { // each word is in host order
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	a, ok := netip.AddrFromSlice(raw)
	return socket{netip.AddrPortFrom(a, uint16(p)), state, f[9]}, ok
}
