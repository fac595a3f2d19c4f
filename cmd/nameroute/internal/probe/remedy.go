package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/mux"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
)

// remedy says what can be done about what keeps a resolver from answering; "" where that is
// not known.
func remedy(u Use, err error) string {
	text := remedyOf(u, err)
	if text != "" {
		text = ": " + text
	}
	return text
}

func remedyOf(u Use, err error) string {
	t := u.Address.Transport
	var f *mux.Failure
	var n net.Error
	switch {
	case trust.Distrusted(err):
		return ofCertificate(err)
	case strings.Contains(err.Error(), "no application protocol"), errors.As(err, &f) && f.Reason == "protocol":
		return fmt.Sprintf("something else than %s is spoken at this port: another scheme or port", t)
	case errors.As(err, &f):
		return ofResponse(u, f)
	case errors.As(err, new(tls.RecordHeaderError)):
		return "no TLS is spoken at this port: another port, or the address without " + string(t) + "://"
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at its port %s: another scheme or port", port(u))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return fmt.Sprintf("it is off, or packets to its port %s are dropped on the way there or back", port(u))
	}
	return ""
}

// ofCertificate says what can be done about a certificate that is not believed.
func ofCertificate(err error) string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return "a name that its certificate holds, after the address: ADDRESS%NAME"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "`tls CA` if it has an authority of its own, else another host answers in its place"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "compare the clock of this box with the dates: if it is right, the resolver's operator has to renew the certificate"
	case errors.As(err, new(trust.PinError)):
		return "if the resolver has new keys, its new pin or stamp, else another host answers in its place"
	}
	return ""
}

// ofResponse says what can be done about a response that holds no reply.
func ofResponse(u Use, f *mux.Failure) string {
	var code int
	switch n, _ := fmt.Sscanf(f.Error(), "HTTP status %d", &code); {
	case f.Reason == "content_type", n == 1 && code < http.StatusInternalServerError && code != http.StatusTooManyRequests && code != http.StatusForbidden:
		return "its path is not " + u.Address.Path + ": the one that its operator names, after the address"
	case n == 1:
		return "the resolver does not serve this box now: another one beside it"
	}
	return ""
}

// port names the port that a resolver is asked at.
func port(u Use) string {
	proto := "tcp"
	switch u.Address.Transport {
	case address.UDP, address.HTTP3, address.QUIC:
		proto = "udp"
	}
	return fmt.Sprintf("%d/%s", u.Address.Addr.Port(), proto)
}
