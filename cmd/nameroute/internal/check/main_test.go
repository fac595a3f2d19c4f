package check

import (
	"fmt"
	"os"
	"testing"

	"github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	netlab.Main(m)
}
