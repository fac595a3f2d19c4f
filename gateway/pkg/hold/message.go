package hold

import (
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// send sends one byte, and a descriptor unless it is negative.
func send(c *net.UnixConn, b byte, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	_, _, err := c.WriteMsgUnix([]byte{b}, rights, nil)
	return err
}

// receive receives one byte, and at most one descriptor, of a netfilter socket. fd is
// negative where there is none.
func receive(c *net.UnixConn) (b byte, fd int, err error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	n, oobn, flags, _, err := c.ReadMsgUnix(buf, oob)
	if err != nil {
		return 0, -1, err
	}
	fds, err := descriptors(oob[:oobn])
	if err == nil && (n != 1 || flags&unix.MSG_CTRUNC != 0 || len(fds) > 1) {
		err = errors.New("hold: malformed message")
	}
	if err == nil && len(fds) == 1 {
		if err = checkSocket(fds[0]); err == nil {
			return buf[0], fds[0], nil
		}
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
	if err != nil {
		return 0, -1, err
	}
	return buf[0], -1, nil
}

func descriptors(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		some, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, err
		}
		fds = append(fds, some...)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
	}
	return fds, nil
}

// checkSocket refuses whatever is no netlink socket of netfilter.
func checkSocket(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err == nil && (domain != unix.AF_NETLINK || protocol != unix.NETLINK_NETFILTER) {
		err = errors.New("hold: not a netfilter socket")
	}
	return err
}

// peer returns the process at the other end. A connection to a listening socket tells that
// of the listener.
func peer(c *net.UnixConn) (who *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return who, errors.Join(err, failed)
}

// trusted reports whether a process belongs to root, to our own user, or to the one that
// owns the directory of nameroute's sockets: one that was run by hand as root is followed by
// a service of another user.
func trusted(who *unix.Ucred, dir string) bool {
	var st unix.Stat_t
	return who.Uid == 0 || int(who.Uid) == os.Getuid() || unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Uid == who.Uid
}
