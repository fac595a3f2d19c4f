package dataplane

import (
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }
