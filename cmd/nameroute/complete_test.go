package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A shell offers the names of the lists, those that are fetched where only they are taken.
func TestCompletionKnowsTheLists(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(file, []byte("lists: {mine: {file: m.txt}, far: {url: https://lists.example/l}, near: {url: https://lists.example/n}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"lists test": "mine far near", "lists test mine": "", "lists rollback": "far near", "update": "far near", "update far": "near",
	} {
		root := rootCommand()
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs(append(append([]string{"__complete"}, strings.Fields(args)...), "--config", file, ""))
		if err := root.Execute(); err != nil {
			t.Fatal(err)
		}
		names, _, _ := strings.Cut(out.String(), ":")
		if got := strings.Join(strings.Fields(names), " "); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}
