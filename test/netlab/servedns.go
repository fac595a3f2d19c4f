//go:build linux

package netlab

import (
	"errors"

	"github.com/miekg/dns"
)

// ServeDNS starts a DNS server. The end of the test waits until no query is being handled,
// so that a handler may report to the test.
func ServeDNS(t TB, server *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("netlab: DNS server: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(), <-ended); err != nil {
			t.Fatalf("netlab: DNS server: %v", err)
		}
	})
}
