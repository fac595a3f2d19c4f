// Package logging gives the whole process one kind of log line.
package logging

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"

	clog "github.com/coredns/coredns/plugin/pkg/log"
)

// SetFormat chooses between CoreDNS's two log formats for the whole process.
func SetFormat(format string) error {
	switch format {
	case "text":
		log.SetFlags(0) // who keeps the log adds the time
		log.SetOutput(os.Stderr)
	case "json":
		return clog.Configure(format, os.Stderr)
	default:
		return fmt.Errorf("--log-format %q: want text or json", format)
	}
	return nil
}

// New writes slog records as CoreDNS writes its own, so that one process has
// one kind of line: [INFO] gateway: text key=value.
func New(name string) *slog.Logger {
	return slog.New(&logHandler{name: name})
}

type logHandler struct {
	name  string
	attrs []slog.Attr
}

func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || clog.D.Value()
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(h.name + ": " + r.Message)
	add := func(a slog.Attr) bool {
		v := a.Value.String()
		if v == "" || strings.ContainsAny(v, " \n\"") {
			v = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&b, " %s=%s", a.Key, v)
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	switch {
	case r.Level >= slog.LevelError:
		clog.Error(b.String())
	case r.Level >= slog.LevelWarn:
		clog.Warning(b.String())
	case r.Level >= slog.LevelInfo:
		clog.Info(b.String())
	default:
		clog.Debug(b.String())
	}
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.name, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }
