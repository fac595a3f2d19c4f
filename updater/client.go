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
	tlsTimeout     = 15 * time.Second
	headerTimeout  = 30 * time.Second // from the request to the header of its response
)

// newClient returns an HTTP client that connects with a dialer.
func newClient(d dialer, s gateway.Source, proxy func(*http.Request) (*url.URL, error), roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  throughProxy(proxy, d.scopeOf),
			DialContext:            d.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    tlsTimeout,
			ResponseHeaderTimeout:  headerTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true, // see visit
			DisableCompression:     true, // what is stored and resumed is what the server sends
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			return checkRedirect(next, before, s.Headers)
		},
	}
}

// checkRedirect limits redirects, refuses those to another scheme or from https to
// http, and those to a narrower scope when they connect, sends the user's headers to no other host than the one they are for.
func checkRedirect(next *http.Request, before []*http.Request, secret []gateway.Header) error {
	from, to := before[len(before)-1].URL, next.URL
	switch {
	case len(before) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case to.Scheme != "http" && to.Scheme != "https":
		return fmt.Errorf("redirect to %s: want http or https", to.Scheme)
	case from.Scheme == "https" && to.Scheme == "http":
		return fmt.Errorf("redirect from https to %s: anyone on the path could change the list", redactURL(to))
	}
	visitOf(next.Context()).redirected()
	next.Header.Del("Referer") // a URL may hold a token
	first := before[0].URL
	if !strings.EqualFold(to.Host, first.Host) || to.Scheme != first.Scheme && to.Scheme != "https" {
		for _, h := range secret {
			next.Header.Del(h.Name)
		}
	}
	return nil
}

// redactURL returns a URL for messages: without its query, which may hold a token.
func redactURL(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return c.String()
}

// redact is redactURL for a URL that was parsed before.
func redact(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(unreadable URL)"
	}
	return redactURL(u)
}

// stripURL removes the URL, which may hold a token, from an error of net/http.
func stripURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
