package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
)

// Clock is the time at which certificates are verified.
type Clock struct {
	Now          func() time.Time
	Synchronized func() bool      // by a time server
	Passed       func() time.Time // a time that is past, whatever Now is
}

// System is the kernel's clock.
var System = &Clock{Now: time.Now, Synchronized: wallclock.Synchronized, Passed: wallclock.Passed}

// later returns the time at which the certificates that were refused with err are to be
// verified instead, where the clock may be the reason: it is not set yet, and they are not
// valid before what it shows, or it shows a time that is past.
//
// A box without a battery knows the time only from a time server, whose name it asks us for.
// All that it knows is that what has passed, has. So a certificate must be valid at some moment
// from then on: the earliest is the latest of what the clock shows, of what has passed, and of
// the beginnings of the certificates. One that ended before what is known to have passed stays
// refused; one that begins later could only be had from its authority.
func (c *Clock) later(err error) (at time.Time, wrong bool) {
	var refused *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &refused) || !errors.As(err, &invalid) || invalid.Reason != x509.Expired || c.Synchronized() {
		return time.Time{}, false
	}
	now := c.Now()
	at = now
	if p := c.Passed(); p.After(at) {
		at = p
	}
	for _, cert := range refused.UnverifiedCertificates {
		if cert.NotBefore.After(at) {
			at = cert.NotBefore
		}
	}
	return at, at.After(now)
}
