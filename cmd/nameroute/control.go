package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// controlTimeout bounds what a command waits for a running process.
const controlTimeout = 30 * time.Second

// maxAnswer bounds what a command reads of an answer, in bytes.
const maxAnswer = 16 << 20

// control is the socket by which commands talk to what runs. A verb is one POST, and
// GET /status answers a statusDoc; an answer other than 200 carries the reason as text.
type control struct {
	server *http.Server
	done   chan struct{}
}

// socketName is where a part listens; `run`, which is both, has the plain name.
func socketName(dir string, parts []part) string {
	if len(parts) == 1 {
		return filepath.Join(dir, string(parts[0])+".sock")
	}
	return filepath.Join(dir, "control.sock")
}

// serveControl listens until close. Only root (or the user of the process) may
// connect: the socket is made with mode 0600.
func serveControl(name string, actions map[string]func(context.Context) error, status func() statusDoc) (*control, error) {
	// The lock is ours, so a socket that lies there is of a process that is gone.
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old control socket: %w", err)
	}
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the control socket: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	for verb, do := range actions {
		mux.HandleFunc("POST /"+verb, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
		})
	}
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// What cannot be written, its reader has given up.
		_ = json.NewEncoder(w).Encode(status())
	})
	c := &control{&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, make(chan struct{})}
	go func() {
		defer close(c.done)
		c.server.Serve(l) // ends with ErrServerClosed
	}()
	return c, nil
}

// close lets requests under way finish: `down` is answered by the process that ends.
func (c *control) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
	<-c.done
}

// errNobody means that no process listens on a control socket.
var errNobody = errors.New("no nameroute runs")

// ask sends one verb to a control socket.
func ask(name, verb string) error {
	_, err := request(name, http.MethodPost, verb)
	return err
}

// get reads what a control socket answers to a question that changes nothing.
func get(name, what string) ([]byte, error) { return request(name, http.MethodGet, what) }

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
		return nil, errNobody
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

// socketParts are the sets of parts that may listen: everything in one process, or
// each alone. The sidecar comes before the dns half, as `down` needs it.
func socketParts() [][]part { return [][]part{{partDNS, partGateway}, {partGateway}, {partDNS}} }

// askAll sends a verb to whatever runs, whole or in parts, and tells how many it
// reached.
func askAll(dir, verb string) (reached int, err error) {
	for _, parts := range socketParts() {
		e := ask(socketName(dir, parts), verb)
		if errors.Is(e, errNobody) {
			continue
		}
		reached++
		err = errors.Join(err, e)
	}
	return reached, err
}
