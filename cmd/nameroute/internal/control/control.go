// Package control is how commands and running processes find each other: locks and
// control sockets in the run directory.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"golang.org/x/net/netutil"
)

// controlTimeout bounds what a command waits for a running process.
const controlTimeout = 30 * time.Second

// Bounds on what connects to a control socket. Only root can, but a script that leaks
// connections must not use up the files of the process.
const (
	maxConns    = 64
	maxHeader   = 8 << 10
	idleTimeout = 5 * time.Second // until the request has come
)

// maxAnswer bounds what a command reads of an answer, in bytes.
const maxAnswer = 16 << 20

// Part is one of the processes that nameroute can run as.
type Part string

// The parts.
const (
	DNS     Part = "dns"     // the resolver and the nft table
	Gateway Part = "gateway" // the sidecar
	Update  Part = "update"  // the updater
)

// Server is the socket by which commands talk to a running process. A verb is one
// POST, a question one GET, which is answered with JSON; an answer other than 200 carries
// the reason as text.
type Server struct {
	server   *http.Server
	listener *net.UnixListener
	name     string
	file     os.FileInfo // of the socket
	done     chan struct{}
}

// Lost reports whether the socket is no longer in the run directory, so that no command
// finds it.
func (c *Server) Lost() bool {
	there, err := os.Lstat(c.name)
	return err != nil || !os.SameFile(c.file, there)
}

// Socket returns where a process with these parts listens; `run`, which has all of
// them, has the plain name.
func Socket(dir string, parts []Part) string {
	if len(parts) == 1 {
		return filepath.Join(dir, string(parts[0])+".sock")
	}
	return filepath.Join(dir, "control.sock")
}

// Answer answers a GET. What it returns is written as JSON.
type Answer func(ctx context.Context, q url.Values) (any, error)

// Serve listens until Close. Only root (or the user of the process) may connect: the
// socket has mode 0600.
func Serve(name string, actions map[string]func(context.Context) error, answers map[string]Answer) (*Server, error) {
	// We hold the lock, so an existing socket belongs to a process that has ended.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the control socket: %w", err), socket.Close())
	}
	l := netutil.LimitListener(socket, maxConns)
	mux := http.NewServeMux()
	for verb, do := range actions {
		mux.HandleFunc("POST /"+verb, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		})
	}
	for what, answer := range answers {
		mux.HandleFunc("GET /"+what, func(w http.ResponseWriter, r *http.Request) {
			out, err := answer(r.Context(), r.URL.Query())
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			// An error means that the reader has given up.
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	s := &http.Server{Handler: withoutBody(mux), ReadHeaderTimeout: idleTimeout, IdleTimeout: idleTimeout, WriteTimeout: controlTimeout, MaxHeaderBytes: maxHeader}
	s.SetKeepAlivesEnabled(false) // a command makes one request
	there, err := os.Lstat(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the control socket: %w", err), l.Close())
	}
	c := &Server{s, socket, name, there, make(chan struct{})}
	go func() {
		defer close(c.done)
		c.server.Serve(l) // ends with ErrServerClosed
	}()
	return c, nil
}

// withoutBody refuses requests with a body, without waiting for it: no verb has one.
func withoutBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // of a socket, which has deadlines
			http.Error(w, "want a request without a body", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Abandon closes a lost socket and leaves the file of its name, which is another one's.
func (c *Server) Abandon() {
	c.listener.SetUnlinkOnClose(false)
	c.Close()
}

// Close lets running requests finish: `down` is answered by the process that ends.
func (c *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
	<-c.done
}

// ErrNotRunning means that no process listens on a control socket.
var ErrNotRunning = errors.New("nameroute is not running")

// Ask sends one verb to a control socket.
func Ask(name, verb string) error {
	_, err := request(name, http.MethodPost, verb)
	return err
}

// Get reads what a control socket answers to a request that changes nothing.
func Get(name, what string) ([]byte, error) { return request(name, http.MethodGet, what) }

func request(name, method, verb string) ([]byte, error) {
	client := &http.Client{Timeout: controlTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", name)
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequest(method, "http://nameroute/"+verb, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		if errors.Is(err, os.ErrPermission) {
			return nil, exit.With(exit.Denied, fmt.Errorf("%s: %w", name, op.Err))
		}
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running nameroute to %s: %w", verb, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(text)))
	}
	return text, nil
}

// Processes returns the sets of parts that a process with a control socket may have:
// everything, or one part. The sidecar comes before the resolver, as `down` needs it.
func Processes() [][]Part { return [][]Part{{DNS, Gateway}, {Gateway}, {DNS}} }

// AskAll sends a verb to every process that runs, and returns how many it reached.
func AskAll(dir, verb string) (reached int, err error) {
	for _, parts := range Processes() {
		e := Ask(Socket(dir, parts), verb)
		if errors.Is(e, ErrNotRunning) {
			continue
		}
		reached++
		err = errors.Join(err, e)
	}
	return reached, err
}

// RemoveSockets deletes the control sockets that killed processes left.
func RemoveSockets(dir string) error {
	var errs []error
	for _, parts := range Processes() {
		if err := os.Remove(Socket(dir, parts)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
