// Package dnsserver runs the DNS servers of tests.
package dnsserver

import (
	"errors"

	"github.com/miekg/dns"
)

// test is what of testing.TB is used.
type test interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start starts a DNS server. The end of the test waits until no query is being handled,
// so that a handler may report to the test.
func Start(t test, server *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatalf("DNS server: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Shutdown(), <-ended); err != nil {
			t.Fatalf("DNS server: %v", err)
		}
	})
}
