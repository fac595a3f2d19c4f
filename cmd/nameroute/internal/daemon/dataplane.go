package daemon

import (
	"context"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

// dataplanePart is the owner of the nft table. The plugins open it while CoreDNS starts
// and close it with the last instance that uses it.
type dataplanePart struct {
	config string          // its gateway.yaml
	ready  <-chan struct{} // the resolver's
}

func (d *dataplanePart) String() string              { return "dataplane" }
func (d *dataplanePart) Ready() <-chan struct{}      { return d.ready }
func (d *dataplanePart) Use(*files) error            { return nil } // the resolver's plugins pass it on
func (d *dataplanePart) Check(context.Context) error { return nil }
func (d *dataplanePart) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (d *dataplanePart) Down(ctx context.Context) error {
	if h := dnshalf.Running(d.config); h != nil {
		return h.Remove(ctx)
	}
	return nil
}

func (d *dataplanePart) Report(doc *status.Doc) {
	if h := dnshalf.Running(d.config); h != nil {
		s, err := h.Snapshot()
		doc.Problem(err)
		doc.AddDNS(s)
	}
}
