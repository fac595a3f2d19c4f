package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
)

// presencePoll is the interval between two looks at the run directory.
const presencePoll = time.Second

// presence is what other commands see of this process in the run directory: its locks and
// its control socket.
type presence struct {
	p      *process
	locks  []*control.Lock // of o.Parts
	server *control.Server // nil: not open, or only the updater runs here
}

// take takes the locks of the parts.
func (s *presence) take() error {
	for _, part := range s.p.o.Parts {
		l, err := control.TakeLock(s.p.o.Run, part)
		if err != nil {
			return err
		}
		s.locks = append(s.locks, l)
	}
	return nil
}

// serve opens the control socket, unless only the updater runs here.
func (s *presence) serve() (err error) {
	p := s.p
	served := p.o.served()
	if len(served) == 0 {
		return nil
	}
	s.server, err = control.Serve(control.Socket(p.o.Run, served), map[string]func(context.Context) error{
		"reload": p.reloadNow,
		"down":   p.down,
	}, p.answers())
	return err
}

// keep puts locks and socket back where something has emptied the run directory: without
// them nothing seems to run, and `down` and a second start would fight this process. It
// returns when ctx ends.
func (s *presence) keep(ctx context.Context) {
	every(ctx, presencePoll, func() {
		restored, err := s.restore()
		if changed, _ := s.p.problems.Error("run directory", err); changed {
			s.p.log.Error("the run directory was emptied and cannot be restored", "dir", s.p.o.Run, "error", err)
		} else if restored && err == nil {
			s.p.log.Warn("the run directory was emptied, restored the locks and the control socket", "dir", s.p.o.Run)
		}
	})
}

// restore takes the locks that are lost, and opens the socket again if it is.
func (s *presence) restore() (restored bool, err error) {
	for i, l := range s.locks {
		if !l.Lost() {
			continue
		}
		again, err := control.TakeLock(s.p.o.Run, s.p.o.Parts[i])
		if err != nil {
			return restored, err
		}
		_ = l.Release() // of a file that is gone
		s.locks[i], restored = again, true
	}
	if s.server == nil || !s.server.Lost() {
		return restored, nil
	}
	old := s.server
	if err := s.serve(); err != nil {
		s.server = old
		return restored, err
	}
	go old.Abandon()
	return true, nil
}

// closeSocket closes the control socket, after the request that is being answered.
func (s *presence) closeSocket() {
	if s.server != nil {
		s.server.Close()
	}
}

// end releases the locks.
func (s *presence) end() error {
	var errs []error
	for _, l := range s.locks {
		errs = append(errs, l.Release())
	}
	return errors.Join(errs...)
}
