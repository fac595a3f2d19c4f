package nft

import (
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/gateway/gatewaytest"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// slack is how much slower than promised things may be here.
var slack = netlab.Slack()

var (
	addr     = netip.MustParseAddr
	prefixes = gatewaytest.Prefixes
	many     = gatewaytest.ManyPrefixes
)
