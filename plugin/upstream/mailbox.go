package upstream

import (
	"sync"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// event is what happened to a flight.
type event struct {
	flight *flight
	socket *socket      // opened for it
	msg    []byte       // its reply, or one that is odd
	odd    wire.Verdict // why the message is, or the socket was sent too many others
	err    error
}

// mailbox collects the events of one race, posted by the readers of its sockets.
type mailbox struct {
	wake chan struct{} // of capacity 1

	mu     sync.Mutex
	events []event
	closed bool
}

// post never blocks. It reports false where the mailbox is closed.
func (m *mailbox) post(e event) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.events = append(m.events, e)
	select {
	case m.wake <- struct{}{}:
	default: // it is awake
	}
	return true
}

// take appends the events to buf and returns it.
func (m *mailbox) take(buf []event) []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	buf = append(buf, m.events...)
	clear(m.events)
	m.events = m.events[:0]
	return buf
}

// close returns the events that were not taken.
func (m *mailbox) close() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return m.events
}
