package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

func TestInitWithoutTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	old := os.Stdin
	os.Stdin = null // the test's own may be a terminal
	defer func() { os.Stdin = old }()
	root := rootCommand()
	root.SetArgs([]string{"init", "--config", filepath.Join(t.TempDir(), "gateway.yaml")})
	err = root.Execute()
	if want := "no terminal to ask on: use --yes, and flags for what cannot be detected"; err == nil || err.Error() != want || exit.Code(err) != exit.Usage {
		t.Errorf("got %v, want %s", err, want)
	}
}
