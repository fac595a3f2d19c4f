package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// textHandler writes records as CoreDNS writes its own lines: [LEVEL] part: message
// key=value, after the time where nothing else adds it.
type textHandler struct {
	mu    *sync.Mutex
	times bool
	w     io.Writer
	part  string
	attrs string // formatted, each with a space before it
	group string // "" or ends with a dot
}

func newTextHandler(w io.Writer) *textHandler {
	return &textHandler{mu: new(sync.Mutex), w: w, part: partProcess}
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || debugging()
}

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	var attrs strings.Builder
	part := h.part
	r.Attrs(func(a slog.Attr) bool {
		if h.group == "" && a.Key == PartKey {
			part = a.Value.String()
		} else {
			appendAttr(&attrs, h.group, a)
		}
		return true
	})
	at := ""
	if h.times {
		at = r.Time.Format("2006-01-02 15:04:05.000 ")
	}
	line := fmt.Sprintf("%s[%s] %s: %s%s%s\n", at, levelName(r.Level), part, oneLine(r.Message), h.attrs, attrs.String())
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, line)
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		if h.group == "" && a.Key == PartKey {
			next.part = a.Value.String()
		} else {
			appendAttr(&b, h.group, a)
		}
	}
	next.attrs = b.String()
	return &next
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.group += name + "."
	}
	return &next
}

func appendAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range v.Group() {
			appendAttr(b, group, inner)
		}
		return
	}
	if a.Key == "" {
		return
	}
	text := v.String()
	if text == "" || strings.ContainsAny(text, " \n\"=") {
		text = fmt.Sprintf("%q", text)
	}
	fmt.Fprintf(b, " %s%s=%s", group, a.Key, text)
}

// oneLine keeps a record on one line: journald and syslog make several of one with
// line breaks.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", `\n`)
}

// levelName returns a level in CoreDNS's words.
func levelName(l slog.Level) string {
	switch {
	case l >= levelFatal:
		return "FATAL"
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}
