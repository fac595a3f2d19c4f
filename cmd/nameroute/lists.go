package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/listing"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/updater"
)

// listsCommand is `lists`, which shows the lists, with the commands for one list below it.
func listsCommand(o *options) *cobra.Command {
	c := listsTableCommand(o)
	c.AddCommand(graceful(rollbackCommand(o)), listsConvertCommand(), listsTestCommand(o), listsCategoriesCommand())
	return c
}

func listsTableCommand(o *options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "lists",
		Short: "Show the lists: content, source and age",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.Gateway()
			if err != nil {
				return err
			}
			rows := listing.Rows(cfg, o.State)
			if asJSON {
				return output.JSON(cmd.OutOrStdout(), rows)
			}
			return listing.Print(cmd.OutOrStdout(), rows, time.Now())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func rollbackCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback NAME",
		Short: "Restore the previous version of a fetched list",
		Long: `Restore the version of a fetched list before the current one. The version that is
replaced is not used again until its publisher changes it, or 'nameroute update --force
NAME' fetches it.`,
		Args:              exactly(1),
		ValidArgsFunction: o.completeLists(1, cobra.ShellCompDirectiveNoFileComp, fetched),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.Gateway()
			if err != nil {
				return exit.With(exit.Config, err)
			}
			u := updater.New(updater.Options{Config: cfg, State: o.State})
			if err := u.Rollback(cmd.Context(), args[0]); err != nil {
				return exit.With(exit.List, err)
			}
			if s, ok := u.Status().List(args[0]); ok {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d entries, fetched %s\n", s.Name, s.Rules, s.Fetched.Format(time.DateTime))
			}
			return nil
		},
	}
}

func listsConvertCommand() *cobra.Command {
	var to, from string
	c := &cobra.Command{
		Use:   "convert FILE",
		Short: "Convert a list to another format",
		Long: `Convert a list of any format to another, on standard output. A colon selects a part of a
file or folder: geosite.dat:netflix, delegated-apnic-latest:CN. Rules that the other
format cannot express are counted on standard error.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := lists.Convert(cmd.OutOrStdout(), fileList(args[0], from), to)
			if err != nil {
				return exit.With(exit.List, err)
			}
			listing.PrintConversion(cmd.ErrOrStderr(), done)
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "plain", "format to write: "+strings.Join(format.Targets(), ", "))
	c.Flags().StringVar(&from, "format", "", "format to read; detected by default")
	return c
}

func listsTestCommand(o *options) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "test LIST NAME...",
		Short: "Tell whether names are on a list, by which rule on which line",
		Long: `Tell whether names, addresses or prefixes are on a list, by which rule on which line,
and what the rule means. LIST is a list of gateway.yaml, or a file. The exit code is 0 if
all are listed, else 1.`,
		Args:              atLeast(2),
		ValidArgsFunction: o.completeLists(1, cobra.ShellCompDirectiveDefault, func(*gateway.Config, gateway.List) bool { return true }),
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
				listing.PrintVerdict(cmd.OutOrStdout(), l, v)
				if !v.Listed {
					err = &exit.Error{Code: exit.Failure}
				}
			}
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "", "format to read; detected, or as in gateway.yaml, by default")
	return c
}

func listsCategoriesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "categories FILE",
		Short: "Show the categories or countries of a file or folder",
		Long: `Show the names of the parts of a file or folder, one a line: the categories of
geosite.dat or of a folder of domain-list-community, the countries of geoip.dat or of a
registry's statistics. A list has one of them after a colon, FILE:NAME.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := format.Categories(args[0])
			if err != nil {
				return exit.With(exit.List, err)
			}
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return nil
		},
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
	return gateway.List{}, exit.With(exit.Usage, fmt.Errorf("list %q: %s has no list of that name; for a file write ./%s", name, o.Config, name))
}

func fileList(file, format string) gateway.List {
	return gateway.List{Name: filepath.Base(file), File: file, Format: format}
}
