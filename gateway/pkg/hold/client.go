package hold

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"golang.org/x/sys/unix"
)

// Errors that callers tell apart.
var (
	// ErrNoHolder is returned where no holder listens.
	ErrNoHolder = errors.New("no holder runs")
	// ErrStarting is the state until a holder was tried to be started.
	ErrStarting = errors.New("a holder is being started")
)

// spawnLimit is how long a holder that was started may take until it listens.
const spawnLimit = 5 * time.Second

// answerLimit is how long Store, and with it the table, waits for a holder that may be stopped.
const answerLimit = time.Second

// Client is a process's end of the holder.
type Client struct {
	// Spawn starts a holder where none runs; nil: none is started.
	Spawn   func() error
	dir     string
	changed chan struct{} // capacity 1

	mu     sync.Mutex
	fd     int // a copy of what was stored, while it is to be held; -1: nothing is
	holder int // process; 0: none
	err    error
	ended  bool // by End
	closed chan struct{}
}

// NewClient returns a Client that has stored nothing. dir is as for Serve.
func NewClient(dir string, spawn func() error) *Client {
	return &Client{Spawn: spawn, dir: dir, changed: make(chan struct{}, 1), fd: -1, err: ErrNoHolder, closed: make(chan struct{})}
}

// Changed receives when State may have changed.
func (c *Client) Changed() <-chan struct{} { return c.changed }

// State returns the process that holds the socket, -1 for one of another container, and
// why it is not held, or not for long.
func (c *Client) State() (holder int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holder, c.err
}

// Fetch returns the socket that is held; negative: none is. The caller owns it, and it is
// held all the same.
func (c *Client) Fetch() (fd int, err error) {
	conn, who, err := dial(patience)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	if !trusted(who, c.dir) {
		return -1, impostor(who)
	}
	return ask(conn, fetch, -1)
}

// impostor is the error of a holder that is not trusted.
func impostor(who *unix.Ucred) error {
	return fmt.Errorf("hold: process %d of user %d listens in place of the holder", who.Pid, who.Uid)
}

// Store has a socket held from now on, in place of what was. Where no holder runs, one is
// started in the background; when one ends, another one takes its place.
func (c *Client) Store(fd int) error {
	copied, err := duplicate(fd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.fd < 0
	c.forget()
	c.fd, c.ended = copied, false
	c.holder, c.err = c.tryStore(copied, answerLimit)
	if c.Spawn != nil && errors.Is(c.err, ErrNoHolder) {
		c.err = ErrStarting
	}
	if first {
		go c.follow(c.closed)
	}
	return c.err
}

func duplicate(fd int) (int, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("hold: %w", err)
	}
	return copied, nil
}

// forget closes our copy.
func (c *Client) forget() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd) // nothing can be done about an error
	}
	c.fd, c.holder = -1, 0
}

// tryStore stores a socket with the holder that runs.
func (c *Client) tryStore(fd int, limit time.Duration) (holder int, err error) {
	conn, who, err := dial(limit)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if !trusted(who, c.dir) {
		return 0, impostor(who)
	}
	if _, err := ask(conn, store, fd); errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, fmt.Errorf("hold: the holder, process %d, does not answer", who.Pid)
	} else if err != nil {
		return 0, err
	}
	switch {
	case who.Pid == 0:
		return -1, nil
	case os.Getpid() == 1:
		return int(who.Pid), fmt.Errorf("hold: the holder, process %d, ends with this container", who.Pid)
	case endsWithUs(int(who.Pid)):
		return int(who.Pid), fmt.Errorf("hold: systemd ends the holder, process %d, with this service", who.Pid)
	}
	return int(who.Pid), nil
}

// store is tryStore that starts a holder where none runs.
func (c *Client) store(fd int) (holder int, err error) {
	holder, err = c.tryStore(fd, patience)
	if c.Spawn == nil || !errors.Is(err, ErrNoHolder) {
		return holder, err
	}
	if err := c.Spawn(); err != nil {
		return 0, fmt.Errorf("hold: start a holder: %w", err)
	}
	for began := time.Now(); errors.Is(err, ErrNoHolder) && time.Since(began) < spawnLimit; {
		time.Sleep(5 * time.Millisecond)
		holder, err = c.tryStore(fd, patience)
	}
	return holder, err
}

// follow stores the socket again when the holder has ended, until Close or End.
func (c *Client) follow(closed <-chan struct{}) {
	for wait := time.Duration(0); ; wait = min(max(2*wait, 50*time.Millisecond), 30*time.Second) {
		if holder, _ := c.State(); holder != 0 {
			began := time.Now()
			if awaitEnd(closed); time.Since(began) > time.Second {
				wait = 0
			}
		}
		select {
		case <-closed:
			return
		case <-time.After(wait):
		}
		c.storeAgain(closed)
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// storeAgain stores what is to be held now. It takes as long as a holder takes to start.
func (c *Client) storeAgain(closed <-chan struct{}) {
	c.mu.Lock()
	was := c.fd
	fd, err := -1, error(nil)
	if was >= 0 {
		fd, err = duplicate(was)
	}
	c.mu.Unlock()
	if fd < 0 {
		return
	}
	holder := 0
	if err == nil {
		holder, err = c.store(fd)
	}
	_ = unix.Close(fd)
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-closed:
		if c.ended { // meanwhile: nothing is to be held
			_ = endHolder()
		}
	default:
		if c.holder, c.err = holder, err; c.fd != was {
			c.holder = 0 // another one is to be held since
		}
	}
}

// awaitEnd returns when no holder runs, or the channel is closed.
func awaitEnd(closed <-chan struct{}) {
	conn, _, err := dial(patience)
	if err != nil {
		return
	}
	err = errors.Join(send(conn, watch, -1), conn.SetDeadline(time.Time{}))
	if err != nil {
		_ = conn.Close() // it is made again
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = conn.ReadFrom(make([]byte, 1)) // nothing ever comes but the end
	}()
	select {
	case <-ended:
	case <-closed:
	}
	_ = conn.Close() // which ends the reading
	<-ended
}

// Close leaves what is held to the next process.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		close(c.closed)
		c.closed = make(chan struct{})
	}
	c.forget()
}

// End ends the holder, where there is one: nothing is left to hold.
func (c *Client) End() error {
	c.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.ended = ErrNoHolder, true
	return endHolder()
}

func endHolder() error {
	conn, _, err := dial(patience)
	if errors.Is(err, ErrNoHolder) {
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = ask(conn, end, -1)
	return err
}

// dial connects to the holder for one request, which may take as long as limit.
func dial(limit time.Duration) (*net.UnixConn, *unix.Ucred, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: address, Net: "unixpacket"})
	if errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil, ErrNoHolder
	}
	if err != nil {
		return nil, nil, fmt.Errorf("hold: %w", err)
	}
	who, err := peer(c)
	if err == nil {
		err = c.SetDeadline(time.Now().Add(limit))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("hold: %w", err), c.Close())
	}
	return c, who, nil
}

// ask makes one request, and returns the socket in its reply; negative: none.
func ask(c *net.UnixConn, request byte, fd int) (int, error) {
	if err := send(c, request, fd); err != nil {
		return -1, fmt.Errorf("hold: %w", err)
	}
	reply, got, err := receive(c)
	if err == nil && reply != request {
		err = errors.New("the holder refuses")
		if got >= 0 {
			_ = unix.Close(got)
		}
	}
	if err != nil {
		return -1, fmt.Errorf("hold: %w", err)
	}
	return got, nil
}

// endsWithUs reports whether systemd would end a process with our own: what is left in a
// service's control group is killed.
func endsWithUs(pid int) bool {
	if os.Getenv("INVOCATION_ID") == "" {
		return false
	}
	ours, err := statefile.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	theirs, err := statefile.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	return err == nil && bytes.Equal(ours, theirs)
}
