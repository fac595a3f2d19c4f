//go:build linux

package netlab

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// slackEnv says how much slower than promised things may be on this machine.
const slackEnv = "NETLAB_SLACK"

// Slack is the factor by which tests stretch their limits of time: 1, or what
// NETLAB_SLACK says, a whole number from 1 on. An emulated processor is ten times
// slower than a real one (test/vm); what happens within the limits is as strict.
// Another value panics, because a misread one would weaken or fail tests.
func Slack() time.Duration {
	value := os.Getenv(slackEnv)
	if value == "" {
		return 1
	}
	factor, err := strconv.Atoi(value)
	if err != nil || factor < 1 {
		panic(fmt.Sprintf("%s=%q: want a whole number from 1 on", slackEnv, value))
	}
	return time.Duration(factor)
}
