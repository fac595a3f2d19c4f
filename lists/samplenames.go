package lists

import (
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// SampleNames reads a list and returns the first n names that it lists with all names below
// them, in the order of the file. Names that it removes by an exception are not among them.
func SampleNames(l gateway.List, n int) ([]string, error) {
	var names []string
	b := index.NewBuilder([]string{l.Name})
	add := func(e entry.Entry) {
		b.Add(0, e)
		if e.Kind == entry.Suffix && e.Exception == entry.NoException {
			names = append(names, e.Text)
		}
	}
	if err := format.ParseSource(l.File).Read(l.Format, &format.Sink{Entry: add}); err != nil {
		return nil, err
	}
	ix := b.Build()
	s, err := ix.Selection(l.Name)
	if err != nil {
		return nil, err
	}
	var listed []string
	for _, name := range names {
		if len(listed) < n && ix.Match(name).Listed(s) {
			listed = append(listed, name)
		}
	}
	return listed, nil
}
