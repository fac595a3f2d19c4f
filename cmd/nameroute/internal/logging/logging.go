// Package logging gives the whole process one shape of log line, whichever library
// writes it. As text it is
//
//	[WARNING] sidecar: route is down route=vpn reason="table main has no default"
//
// and as JSON an object of time, level, part, msg and the attributes. A logger names its
// part with an attribute: log.With("part", "lists").
package logging

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	clog "github.com/coredns/coredns/plugin/pkg/log"
)

// PartKey is the attribute that names the part of the process that a line is from.
const PartKey = "part"

const (
	partProcess  = "nameroute" // of lines that name none
	partResolver = "resolver"  // of CoreDNS's own lines that name no plugin
)

// levelFatal is CoreDNS's level of lines after which the process ends.
const levelFatal = slog.Level(12)

// SetFormat chooses the shape of all lines of the process, text or json.
func SetFormat(format string) error { return setFormat(format, os.Stderr) }

// wantsTimes reports whether lines of text need the time: on a terminal and in a file.
// What reads a pipe or a socket, journald, syslog or a container's log, has its own.
func wantsTimes(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && (info.Mode().IsRegular() || info.Mode()&os.ModeCharDevice != 0)
}

func setFormat(format string, w io.Writer) error {
	var h slog.Handler
	switch format {
	case "text":
		text := newTextHandler(w)
		text.times = wantsTimes(w)
		h = text
	case "json":
		h = newJSONHandler(w)
	default:
		return fmt.Errorf("--log-format %q: want text or json", format)
	}
	// In JSON mode CoreDNS writes objects itself: those of *log* have the query's fields.
	if err := clog.Configure(format, partWriter{w}); err != nil {
		return err
	}
	slog.SetDefault(slog.New(h))
	log.SetFlags(0) // the time is the handler's
	log.SetOutput(lineWriter{h})
	return nil
}

// New returns the logger of a part.
func New(part string) *slog.Logger { return slog.Default().With(PartKey, part) }

// debugging reports whether a Corefile has *debug*.
func debugging() bool { return clog.D.Value() }
