package members

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// OnlyByMetric says that `wan: auto` has several interfaces to follow, and how to have them probed;
// "" where it has not. The metrics of table main are the choice of what wrote them: NetworkManager
// prefers a cable, and rates a link without internet worse; DHCP clients leave them as they are.
func OnlyByMetric(cfg *gateway.Config, defaults []policy.KernelRoute) string {
	links := policy.LinksOf(defaults)
	if cfg.WANLink != "" || cfg.WANGroup != nil || len(links) < 2 {
		return ""
	}
	return fmt.Sprintf("auto follows the metrics of table main, by %s: a provider that goes silent is not noticed: wan: [%s] probes each and moves within 3 s",
		strings.Join(links, " and "), strings.Join(links, ", "))
}
