package logging

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// lineWriter turns what libraries write to the standard logger into records. It reads
// CoreDNS's [LEVEL] and plugin/NAME: in front of the message.
type lineWriter struct{ slog.Handler }

func (w lineWriter) Write(line []byte) (int, error) {
	level, message := cutLevel(strings.TrimSuffix(string(line), "\n"))
	part := partResolver
	if name, rest, ok := strings.Cut(message, ": "); ok && strings.HasPrefix(name, "plugin/") && !strings.ContainsAny(name, " \n") {
		part, message = name, rest
	}
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.AddAttrs(slog.String(PartKey, part))
	if err := w.Handle(context.Background(), r); err != nil {
		return 0, err
	}
	return len(line), nil
}

// cutLevel takes the level off a line. Lines without one are information.
func cutLevel(line string) (slog.Level, string) {
	for _, l := range []struct {
		prefix string
		level  slog.Level
	}{
		{"[INFO] ", slog.LevelInfo}, {"[WARNING] ", slog.LevelWarn}, {"[ERROR] ", slog.LevelError},
		{"[DEBUG] ", slog.LevelDebug}, {"[PANIC] ", slog.LevelError}, {"[FATAL] ", levelFatal},
	} {
		if rest, ok := strings.CutPrefix(line, l.prefix); ok {
			return l.level, rest
		}
	}
	return slog.LevelInfo, line
}
