package nft

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlsocket"
	"golang.org/x/sys/unix"
)

// Mode says how a table is protected from other programs.
type Mode string

// ModeOwned is a table with the flags owner and persist: no other socket can change it
// while we live, and it outlives us. ModeReplica is an ordinary table and a second one of
// the same content with the flag owner: flushes by other programs take only the first,
// our death only the second. ModePlain is an ordinary table, whose loss a Watch notices.
const (
	ModeOwned   Mode = "owned"
	ModeReplica Mode = "replica"
	ModePlain   Mode = "plain"
)

// Options configure a Conn. Only Table must be set.
type Options struct {
	Table string        // the name of our table, of family inet
	Owner gateway.Owner // OwnerOff makes an ordinary table; "" is OwnerAuto
	Force Mode          // for tests: a mode regardless of Owner and of what was probed; "" does not force
	// NoUpdate, for tests, prolongs elements as on kernels before 6.12, which cannot
	// change one in place.
	NoUpdate bool
	// Holder keeps the socket of an owned table; nil: it ends with the process.
	Holder Holder
}

// Holder keeps a socket open while its process does not run, so that an owned table stays
// owned. Its errors fail nothing here: it tells them itself. *hold.Client is one.
type Holder interface {
	Fetch() (fd int, err error) // a copy of what is held; negative: nothing is
	Store(fd int) error         // in place of what is held
	End() error                 // nothing is to be held
	Close()                     // what is held is left to the next process
}

// Features says what the running kernel can do, as found by trying.
type Features struct {
	Owner   bool // tables that one socket owns (Linux 5.12)
	Persist bool // owned tables that outlive their owner (6.9)
	Update  bool // an element's timeout can be changed in place (6.12)
	Labels  bool // conntrack has labels (CONFIG_NF_CONNTRACK_LABELS)
	Sockets bool // rules can ask for the mark of a packet's socket (CONFIG_NFT_SOCKET)
	Cgroups bool // rules can ask for the cgroup of a packet's socket (5.13)
	FIB     bool // rules can ask for the type of an address (CONFIG_NFT_FIB_INET)
	Mode    Mode // how our table is made
}

// Errors that callers tell apart.
var (
	// ErrOwned is returned for a table that another process owns.
	ErrOwned = errors.New("table is owned by another process")
	// ErrBroken is returned when a reply was lost or sending failed. What the kernel did
	// is not known, and the connection must be reopened.
	ErrBroken = errors.New("netlink socket broke")
)

// Conn is the connection that writes tables and the elements of sets. An owned table
// belongs to its socket, so all that writes must share one Conn. It is not safe for
// concurrent use, but for Features and Mine.
type Conn struct {
	table    string
	features Features
	sock     *socket
	holder   Holder
	ports    portSet
	batch    *batch
	elems    []element // reused by Commit
}

// Open probes what the kernel can do, in a table that it deletes again. It changes
// nothing else.
func Open(o Options) (*Conn, error) {
	sock, err := ownSocket(o)
	if err != nil {
		return nil, fmt.Errorf("nft: %w", err)
	}
	features, err := probe(sock, o.Table)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nft: %w", err), sock.Close())
	}
	features.Mode = ModePlain
	switch {
	case o.Owner == gateway.OwnerOff || !features.Owner:
	case features.Persist:
		features.Mode = ModeOwned
	default:
		features.Mode = ModeReplica
	}
	if o.Force != "" {
		features.Mode = o.Force
	}
	if o.NoUpdate {
		features.Update = false
	}
	c := &Conn{table: o.Table, features: features, sock: sock, holder: o.Holder}
	c.ports.add(sock.Port())
	c.hold()
	return c, nil
}

// ownSocket returns the socket that owns our table or its replica, as an earlier process
// left it with the holder, else a new one.
func ownSocket(o Options) (*socket, error) {
	switch {
	case o.Holder == nil:
		return openSocket()
	case o.Owner == gateway.OwnerOff || o.Force == ModePlain:
		_ = o.Holder.End() // an ordinary table is wanted: what is there becomes one
		return openSocket()
	}
	fd, err := o.Holder.Fetch()
	if err != nil || fd < 0 {
		return openSocket()
	}
	s, err := newSocket(nlsocket.Take(fd))
	if err != nil {
		return openSocket()
	}
	owns, err := ownsTable(s, o.Table)
	if owns {
		return s, nil
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	return openSocket()
}

// ownsTable reports whether our table or its replica belongs to a socket.
func ownsTable(s *socket, table string) (bool, error) {
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	for _, name := range []string{table, replicaOf(table)} {
		t, err := r.table(unix.NFPROTO_INET, name)
		if err != nil {
			return false, err
		}
		if t.owned() && t.owner == s.Port() {
			return true, nil
		}
	}
	return false, nil
}

// hold has our socket held where it is to own a table.
func (c *Conn) hold() {
	if c.holder != nil && c.features.Mode != ModePlain {
		_ = c.holder.Store(c.sock.FD()) // the holder tells errors, and tries again
	}
}

// Features returns what the running kernel can do and how our table is made.
func (c *Conn) Features() Features { return c.features }

// Close closes the socket and leaves everything in the kernel in place. An owned table
// then has no owner, and the next process adopts it.
func (c *Conn) Close() error {
	if c.holder != nil {
		c.holder.Close()
	}
	return c.sock.Close()
}

// Reopen replaces a broken socket. An owned table stays, and is adopted by the
// application that must follow.
func (c *Conn) Reopen() error {
	// The old one must go first: it may own the table. It is broken already.
	_ = c.sock.Close()
	sock, err := openSocket()
	if err != nil {
		return err
	}
	c.sock = sock
	c.ports.add(sock.Port())
	c.hold() // and the broken one is closed there, too
	return nil
}

// begin starts a batch in the buffers of the last one.
func (c *Conn) begin() *batch {
	c.batch = newBatch(c.batch)
	return c.batch
}

// Remove deletes our table and its replica with everything in them. A missing one is no
// error.
func (c *Conn) Remove() error {
	if err := c.remove(); err != nil {
		return fmt.Errorf("remove nft table inet %s: %w", c.table, err)
	}
	if c.holder != nil {
		return c.holder.End()
	}
	return nil
}

func (c *Conn) remove() error {
	r, err := openReader()
	if err != nil {
		return err
	}
	defer r.close()
	b := c.begin()
	for _, name := range []string{c.table, replicaOf(c.table)} {
		t, err := r.table(unix.NFPROTO_INET, name)
		if err != nil {
			return err
		}
		if err := c.mayWrite(t); err != nil {
			return err
		}
		if t.exists {
			b.delTable(name)
		}
	}
	return c.sock.transact(b)
}

// mayWrite returns an error for a table that another socket owns.
func (c *Conn) mayWrite(t tableState) error {
	if t.owned() && t.owner != c.sock.Port() {
		return fmt.Errorf("%w (netlink port %d)", ErrOwned, t.owner)
	}
	return nil
}

// CheckSets is the function of that name, for a process that may itself own the table.
func (c *Conn) CheckSets(pair SetPair) error {
	r, err := openReader()
	if err != nil {
		return err
	}
	defer r.close()
	return checkSets(r, pair, c.Mine)
}

// Mine reports whether a netlink port is one of this connection's, now or before it was
// reopened.
func (c *Conn) Mine(port uint32) bool { return c.ports.has(port) }

// portSet holds the netlink ports of our writing sockets, the latest first, by which a
// Watch tells our own changes from those of other programs.
type portSet struct {
	mu    sync.RWMutex
	ports []uint32
}

func (p *portSet) add(port uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ports = append([]uint32{port}, p.ports[:min(len(p.ports), 7)]...)
}

func (p *portSet) has(port uint32) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Contains(p.ports, port)
}
