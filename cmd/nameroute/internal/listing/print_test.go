package listing

import (
	"strings"
	"testing"
	"time"
)

// A terminal shows how far a download is on one line, not more often than it can be read.
func TestProgressLine(t *testing.T) {
	var out strings.Builder
	p := &Progress{Out: &out}
	p.Show("news", 1<<20, 4<<20)
	p.Show("news", 2<<20, 4<<20) // too soon
	p.Show("news", 4<<20, 4<<20)
	p.last = time.Time{}
	p.Show("more", 2048, -1)
	p.Clear()
	const line = "\r\x1b[K"
	if want := line + "news: 1.0 MiB of 4.0 MiB" + line + "news: 4.0 MiB of 4.0 MiB" + line + "more: 2.0 KiB" + line; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
