// Package paths says where nameroute's files are, as its flags name them.
package paths

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/coredns/caddy"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// Paths are the files and directories that every command takes.
type Paths struct {
	Config   string // gateway.yaml
	Corefile string
	State    string // what is kept over a reboot
	Run      string // locks and control sockets
}

// Gateway reads gateway.yaml alone.
func (p Paths) Gateway() (*gateway.Config, error) {
	cfg, err := config.Load(p.Config)
	if errors.Is(err, fs.ErrNotExist) {
		err = ReadError("gateway.yaml", "config", p.Config, err)
	}
	if err != nil {
		return nil, exit.With(exit.Config, err)
	}
	return cfg.WithState(p.State), nil
}

// Input returns a Corefile as caddy takes it, under the name of the user's file.
func (p Paths) Input(text []byte) caddy.Input {
	return caddy.CaddyfileInput{Contents: text, Filepath: p.Corefile, ServerTypeName: "dns"}
}

// ReadError explains why one of the two files cannot be read; flag is the flag that
// names it.
func ReadError(what, flag, file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no %s: `nameroute init` writes one, --%s names another", file, what, flag)
	}
	return fmt.Errorf("read %s: %w", what, err)
}
