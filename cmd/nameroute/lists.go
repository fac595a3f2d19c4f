package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// listsCommand is `lists`, which shows them, with what can be done to one below it.
func listsCommand(o *options) *cobra.Command {
	c := listsTableCommand(o)
	c.AddCommand(graceful(rollbackCommand(o)), listsConvertCommand(), listsTestCommand(o))
	return c
}

func listsConvertCommand() *cobra.Command {
	var to, format string
	c := &cobra.Command{
		Use:   "convert FILE",
		Short: "Write a list of any format in another",
		Long: `Write a list of any format to standard output in another. A part of a file or
folder stands behind a colon: geosite.dat:netflix, delegated-apnic-latest:CN. What the
other format cannot say is counted on standard error.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := lists.Convert(cmd.OutOrStdout(), fileList(args[0], format), to)
			if err != nil {
				return exit.With(exit.List, err)
			}
			tellConversion(cmd.ErrOrStderr(), done)
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "plain", "format to write: "+strings.Join(lists.Targets(), ", "))
	c.Flags().StringVar(&format, "format", "", "format to read; without it, it is detected")
	return c
}

func tellConversion(w io.Writer, c lists.Conversion) {
	fmt.Fprintf(w, "%s: %s written\n", c.Report.String(), output.Count(c.Written, "line"))
	for _, s := range c.Report.Samples {
		fmt.Fprintf(w, "not read: %v\n", s)
	}
	if c.Lost > 0 {
		fmt.Fprintf(w, "%s lost:\n", output.Count(c.Lost, "rule"))
	}
	for _, s := range c.Samples {
		fmt.Fprintf(w, "  %v\n", s)
	}
}

func listsTestCommand(o *options) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "test LIST NAME...",
		Short: "Say whether a list holds names, by which rule on which line, and why",
		Long: `Say whether a list holds names, by which rule on which line, and why. LIST is a list
of gateway.yaml, or a file. The exit code is 0 where all names are listed, else 1.`,
		Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := o.list(args[0], format)
			if err != nil {
				return err
			}
			verdicts, err := lists.Test(l, args[1:]...)
			if err != nil {
				return exit.With(exit.List, err)
			}
			for _, v := range verdicts {
				tellVerdict(cmd.OutOrStdout(), l, v)
				if !v.Listed {
					err = &exit.Error{Code: exit.Failure}
				}
			}
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "", "format to read; without it, it is detected, or as gateway.yaml says")
	return c
}

func tellVerdict(w io.Writer, l gateway.List, v lists.Verdict) {
	word := "listed"
	if !v.Listed {
		word = "not listed"
	}
	fmt.Fprintf(w, "%s: %s by %s\n", v.Name, word, l.Name)
	for _, o := range v.Origins {
		fmt.Fprintf(w, "  %v\n    %s\n", o, o.Meaning())
	}
	if len(v.Origins) == 0 {
		fmt.Fprintln(w, "  no rule is about it")
	}
	if v.More > 0 {
		fmt.Fprintf(w, "  and %s more\n", output.Count(v.More, "rule"))
	}
}

// list finds a list of gateway.yaml; what has a slash, a dot or a colon in it, or is
// no list there, is a file.
func (o *options) list(name, format string) (gateway.List, error) {
	if strings.ContainsAny(name, "/.:") {
		return fileList(name, format), nil
	}
	cfg, err := o.Gateway()
	if err != nil {
		return gateway.List{}, err
	}
	for _, l := range cfg.Lists {
		if l.Name == name {
			if format != "" {
				l.Format = format
			}
			return l, nil
		}
	}
	return gateway.List{}, exit.With(exit.Usage, fmt.Errorf("list %q: %s has none of that name; write ./%s for a file", name, o.Config, name))
}

func fileList(file, format string) gateway.List {
	return gateway.List{Name: filepath.Base(file), File: file, Format: format}
}

func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exit.With(exit.Usage, cobra.ExactArgs(n)(cmd, args))
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		return exit.With(exit.Usage, cobra.MinimumNArgs(n)(cmd, args))
	}
}
