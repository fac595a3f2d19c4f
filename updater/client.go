package updater

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

const (
	maxRedirects   = 5
	maxHeaderBytes = 64 << 10
	tlsLimit       = 15 * time.Second
	answerLimit    = 30 * time.Second // from the request to the header of its answer
)

// newClient makes an HTTP client that leaves by a way.
func newClient(w way, s gateway.Source, proxy func(*http.Request) (*url.URL, error), roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxy,
			DialContext:            w.dial,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    tlsLimit,
			ResponseHeaderTimeout:  answerLimit,
			MaxResponseHeaderBytes: maxHeaderBytes,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // what is stored and resumed is what was sent
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			return checkRedirect(next, before, s.Headers)
		},
	}
}

// checkRedirect bounds redirects, lets none lead to where anybody can listen or to a
// file, and keeps the user's header lines for the host that they were meant for.
func checkRedirect(next *http.Request, before []*http.Request, secret []gateway.Header) error {
	from, to := before[len(before)-1].URL, next.URL
	switch {
	case len(before) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case to.Scheme != "http" && to.Scheme != "https":
		return fmt.Errorf("a redirect to %s: is refused: want http or https", to.Scheme)
	case from.Scheme == "https" && to.Scheme == "http":
		return fmt.Errorf("a redirect from https to %s is refused: anybody on the way could change the list", shown(to))
	}
	next.Header.Del("Referer") // a URL may hold a token
	first := before[0].URL
	if !strings.EqualFold(to.Host, first.Host) || to.Scheme != first.Scheme && to.Scheme != "https" {
		for _, h := range secret {
			next.Header.Del(h.Name)
		}
	}
	return nil
}

// shown is a URL for messages, without a query, which may hold a token.
func shown(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return c.String()
}

// shownText is shown of a URL that was checked before.
func shownText(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(a URL that cannot be read)"
	}
	return shown(u)
}

// plainError takes the URL, which may hold a token, out of an error of net/http.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
