package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/lists"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Make nameroute's files of another program's",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(importDnsmasqCommand())
	return c
}

func importDnsmasqCommand() *cobra.Command {
	var out string
	var force bool
	c := &cobra.Command{
		Use:   "dnsmasq FILE...",
		Short: "Make gateway.yaml, a Corefile and lists of a dnsmasq configuration",
		Long: `Make gateway.yaml, a Corefile and lists of the server=, ipset= and nftset= lines of a
dnsmasq configuration and of the files that it names, and say what could not be carried
over. Files that are there already are left alone without --force.`,
		Args: atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(out)
			if err != nil {
				return err
			}
			i, err := lists.ImportDnsmasq(filepath.Join(dir, "lists"), args...)
			if err != nil {
				return err
			}
			written, err := writeImport(dir, i, force)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			for _, f := range written {
				fmt.Fprintf(w, "wrote    %s\n", f)
			}
			fmt.Fprintf(w, "ok       %s on %s\n", output.Count(i.Names, "name"), output.Count(len(i.Lists), "list"))
			for _, n := range i.Notes {
				fmt.Fprintf(w, "look at  %s\n", n)
			}
			for _, l := range i.Lost {
				fmt.Fprintf(w, "lost     %v\n", l)
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "nameroute-import", "directory to write to")
	c.Flags().BoolVar(&force, "force", false, "replace files that are there already")
	return c
}

// writeImport writes all files or, where one is there already, none.
func writeImport(dir string, i *lists.Import, force bool) (written []string, err error) {
	files := map[string]string{"gateway.yaml": i.Gateway, "Corefile": i.Corefile}
	for name, text := range i.Lists {
		files[filepath.Join("lists", name)] = text
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) && !force {
			return nil, fmt.Errorf("%s: is there already; --force replaces it", filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o755); err != nil {
		return nil, err
	}
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := renameio.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return written, err
		}
		written = append(written, file)
	}
	return written, nil
}
