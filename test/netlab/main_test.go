package netlab

import (
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

func TestOwnNamespace(t *testing.T) {
	Need(t, "ip")
	out, err := exec.Command("ip", "-br", "link").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(strings.TrimSpace(string(out)), "\n") + 1; n > 3 {
		t.Fatalf("a fresh namespace has only lo (and sit/tunl stubs), got:\n%s", out)
	}
}
