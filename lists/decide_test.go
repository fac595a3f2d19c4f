package lists

import (
	"errors"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	const rest = 3 * time.Second
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	one, two, three := digest{1}, digest{2}, digest{3}
	none := known{}
	have := known{good: true, current: true, sum: one, size: 10}
	reconfigured := known{good: true, sum: one, size: 10}
	bad := observed{err: errors.New("bad")}
	for _, c := range []struct {
		name    string
		known   known
		found   observed
		pending shrink
		rest    time.Duration
		want    action
		then    shrink
	}{
		{"first content", none, observed{sum: two, size: 5}, shrink{}, rest, useContent, shrink{}},
		{"first content, empty", none, observed{sum: two}, shrink{}, rest, useContent, shrink{}},
		{"same content", have, observed{sum: one, size: 10}, shrink{}, rest, keepContent, shrink{}},
		{"same content for other settings", reconfigured, observed{sum: one, size: 10}, shrink{}, rest, useContent, shrink{}},
		{"more entries", have, observed{sum: two, size: 11}, shrink{}, rest, useContent, shrink{}},
		{"as many entries", have, observed{sum: two, size: 10}, shrink{}, rest, useContent, shrink{}},

		{"fewer entries", have, observed{sum: two, size: 9}, shrink{}, rest, awaitMore, shrink{two, now}},
		{"fewer, as before", have, observed{sum: two, size: 9}, shrink{two, ago(rest - 1)}, rest, awaitMore, shrink{two, ago(rest - 1)}},
		{"fewer, for long enough", have, observed{sum: two, size: 9}, shrink{two, ago(rest)}, rest, useContent, shrink{}},
		{"fewer, still changing", have, observed{sum: three, size: 9}, shrink{two, ago(rest)}, rest, awaitMore, shrink{three, now}},
		{"fewer, on request", have, observed{sum: two, size: 9}, shrink{two, ago(1)}, 0, useContent, shrink{}},
		{"fewer, with other settings", reconfigured, observed{sum: two, size: 9}, shrink{}, rest, useContent, shrink{}},
		{"all again", have, observed{sum: one, size: 10}, shrink{two, ago(1)}, rest, keepContent, shrink{}},
		{"more than ever", have, observed{sum: three, size: 12}, shrink{two, ago(1)}, rest, useContent, shrink{}},

		{"bad file", have, bad, shrink{}, rest, keepLastGood, shrink{}},
		{"bad file with other settings", reconfigured, bad, shrink{}, rest, keepLastGood, shrink{}},
		{"bad file after a smaller one", have, bad, shrink{two, ago(1)}, rest, keepLastGood, shrink{}},
		{"bad file, no content", none, bad, shrink{}, rest, useCopy, shrink{}},
	} {
		if got, then := decide(c.known, c.found, c.pending, c.rest, now); got != c.want || then != c.then {
			t.Errorf("%s: action %d, pending %v, want %d, %v", c.name, got, then, c.want, c.then)
		}
	}
}
