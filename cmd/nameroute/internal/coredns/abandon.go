package coredns

import (
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/coredns/caddy"
)

// Try sets up a Corefile's directives without starting anything.
func Try(in caddy.Input) error {
	i, err := empty(in)
	if err != nil {
		return err
	}
	defer abandon(i, 0)
	return guard(func() error {
		_, err := setUp(in, i)
		return err
	})
}

// abandon ends what the plugins of an instance have begun that will not serve. Caddy itself
// drops such an instance with its goroutines and sockets. It ends as one that is replaced: the
// first of its startup functions were called.
func abandon(i *caddy.Instance, begun int) {
	if begun > 0 {
		endAll(i.OnRestart)
	}
	started := slices.ContainsFunc(i.OnStartup[:begun], ofZones)
	endAll(slices.DeleteFunc(slices.Clone(i.OnShutdown), func(f func() error) bool { return ofZones(f) && !started }))
}

// ofZones reports whether a function is one of *file*, whose shutdown waits for what its
// startup begins.
func ofZones(f func() error) bool {
	name := runtime.FuncForPC(reflect.ValueOf(f).Pointer()).Name()
	return strings.HasPrefix(name, "github.com/coredns/coredns/plugin/file.")
}

// endAll calls all functions that end something. That one of them fails is no reason to
// leave the rest.
func endAll(all []func() error) {
	for _, f := range all {
		if err := guard(f); err != nil {
			slog.Error("ending a configuration failed", "part", "resolver", "error", err)
		}
	}
}

// call calls functions until one fails.
func call(all []func() error) error {
	for _, f := range all {
		if err := guard(f); err != nil {
			return err
		}
	}
	return nil
}

// guard calls a function of a plugin, and makes an error of its panic.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a plugin panicked: %v", r)
		}
	}()
	return f()
}
