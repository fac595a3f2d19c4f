package updater

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
)

func TestRollback(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	back := func(want string) {
		t.Helper()
		err := b.Rollback(context.Background(), "l")
		if got := fmt.Sprint(err); got != want {
			t.Fatalf("rollback: %s, want %s", got, want)
		}
	}
	back("list l: there is no version before this one")
	if err := b.Rollback(context.Background(), "x"); err == nil || err.Error() != `list "x": gateway.yaml has no list of this name with url` {
		t.Errorf("rollback of another: %v", err)
	}
	for n := 3; n <= 4; n++ {
		s.answer(file(list(n, "example")))
		b.update(Updated, "")
	}
	back("<nil>")
	b.holds(list(3, "example"))
	// The version that was taken out does not come back by itself, whether the server
	// tells that it is the same or sends it again.
	b.update(Unchanged, "")
	s.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, list(4, "example")) })
	b.update(Unchanged, "")
	b.holds(list(3, "example"))
	b.clean()
	// The next one does, and so does it by force.
	b.updateWith(Flags{Force: true}, Updated, "")
	b.holds(list(4, "example"))
	back("<nil>")
	s.answer(file(list(5, "example")))
	b.update(Updated, "")
	b.holds(list(5, "example"))
	if b.meta().Rejected != "" {
		t.Error("the rejected version is still remembered")
	}
}
