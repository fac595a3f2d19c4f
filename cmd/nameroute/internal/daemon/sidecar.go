package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/sidecar"
)

// sidecarPart is the controller of tunnels, policy rules and routing tables.
type sidecarPart struct{ *sidecar.Controller }

// newSidecar returns the sidecar. It enables forwarding when table is closed; a nil
// table means that another process has the nft table, which shows in the kernel.
func newSidecar(o Options, f *files, log *slog.Logger, table <-chan struct{}) (*sidecarPart, error) {
	c, err := sidecar.New(sidecar.Options{
		Config: f.config, State: o.State, Log: log, TableReady: awaitTable(table), Timers: o.Sidecar,
		Advertised: resolvers.AdvertisedFile,
	})
	if err != nil {
		return nil, err
	}
	return &sidecarPart{c}, nil
}

func (s *sidecarPart) Use(f *files) error {
	s.SetConfig(f.config)
	return nil
}

func (s *sidecarPart) Report(d *status.Doc) { d.AddSidecar(s.Status()) }

// Check asks the sidecar for its state, as `status` does.
func (s *sidecarPart) Check(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.Status()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("the sidecar is stuck")
	}
}

// tablePoll is the time between two looks for the table of another process.
const tablePoll = 100 * time.Millisecond

// awaitTable waits for the nft table.
func awaitTable(ours <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		if ours != nil {
			select {
			case <-ours:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for {
			exists, err := nft.TableExists(gateway.TableName)
			if err != nil || exists {
				return err
			}
			select {
			case <-time.After(tablePoll):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
