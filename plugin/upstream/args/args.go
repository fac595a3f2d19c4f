// Package args parses the arguments of a property.
package args

import (
	"fmt"
	"strconv"
	"time"
)

// One returns the only argument of a property.
func One(args []string, usage string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("want %s", usage)
	}
	return args[0], nil
}

// Duration parses a positive duration with its unit.
func Duration(args []string, usage string) (time.Duration, error) {
	s, err := One(args, usage)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a positive duration: want %s", s, usage)
	}
	return d, nil
}

// Number parses a number of at least 0.
func Number(args []string, usage string) (int, error) {
	s, err := One(args, usage)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a number of at least 0: want %s", s, usage)
	}
	return n, nil
}
