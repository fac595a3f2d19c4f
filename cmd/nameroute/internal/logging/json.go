package logging

import (
	"bytes"
	"context"
	"io"
	"log/slog"
)

// jsonHandler writes objects: time, level, msg, part and the attributes. Of several parts
// of a logger the last one counts.
type jsonHandler struct {
	slog.Handler // writes the objects
	part         string
	written      bool // the handler has the part among its attributes
}

func newJSONHandler(w io.Writer) *jsonHandler {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: replaceAttr})
	return &jsonHandler{Handler: h, part: partProcess}
}

// replaceAttr names the level of fatal lines and writes durations as text does.
func replaceAttr(_ []string, a slog.Attr) slog.Attr {
	switch {
	case a.Key == slog.LevelKey && a.Value.Kind() == slog.KindAny:
		if l, ok := a.Value.Any().(slog.Level); ok && l == levelFatal {
			return slog.String(slog.LevelKey, "FATAL")
		}
	case a.Value.Kind() == slog.KindDuration:
		return slog.String(a.Key, a.Value.Duration().String())
	}
	return a
}

func (h *jsonHandler) Enabled(_ context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || debugging()
}

func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	named := h.written
	r.Attrs(func(a slog.Attr) bool {
		named = named || a.Key == PartKey
		return !named
	})
	if !named {
		r.AddAttrs(slog.String(PartKey, h.part))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	var others []slog.Attr
	for _, a := range attrs {
		if a.Key == PartKey && !h.written {
			next.part = a.Value.String()
		} else {
			others = append(others, a)
		}
	}
	next.Handler = h.Handler.WithAttrs(others)
	return &next
}

// WithGroup writes the part: inside the group it would be another attribute.
func (h *jsonHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	next := *h
	if !h.written {
		next.Handler, next.written = h.Handler.WithAttrs([]slog.Attr{slog.String(PartKey, h.part)}), true
	}
	next.Handler = next.Handler.WithGroup(name)
	return &next
}

// partWriter gives the objects that CoreDNS writes a part: one object a Write.
type partWriter struct{ w io.Writer }

// pluginKey begins the last attribute of a plugin's object. It is not found in a value:
// quotes are escaped there.
var pluginKey = []byte(`,"plugin":"`)

func (p partWriter) Write(object []byte) (int, error) {
	end := bytes.LastIndexByte(object, '}')
	if end < 0 {
		return p.w.Write(object)
	}
	b := make([]byte, 0, len(object)+32)
	if i := bytes.Index(object, pluginKey); i >= 0 {
		b = append(b, object[:i]...)
		b = append(b, `,"`+PartKey+`":"plugin/`...)
		b = append(b, object[i+len(pluginKey):]...)
	} else {
		b = append(b, object[:end]...)
		b = append(b, `,"`+PartKey+`":"`+partResolver+`"`...)
		b = append(b, object[end:]...)
	}
	if _, err := p.w.Write(b); err != nil {
		return 0, err
	}
	return len(object), nil
}
