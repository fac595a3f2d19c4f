package sidecar

import (
	"strings"
	"testing"
	"time"
)

// An interface that existed for a while is recreated at once, whatever the pauses after
// failures are.
func TestDeletedInterfaceIsRecreatedAtOnce(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	c := f.start(cfg, func(o *Options) { o.Timers.RetryMin, o.Timers.RetryMax = 20*time.Second, time.Minute })
	c.awaitUp("vpn")
	for range 3 {
		c.work.Lock()
		c.rec.tunnels["vpn"].opened = time.Now().Add(-time.Hour)
		c.work.Unlock()
		run(t, "ip link del wg0")
		took := soon(t, "wg0 exists again and works", func() bool {
			return ask(host4, cfg.Routes[0].Mark.Value) == "10.8.0.2" && ask(host6, cfg.Routes[0].Mark.Value) == "fd00:8::2"
		})
		t.Logf("back within %v", took.Round(time.Millisecond))
	}
	if strings.Contains(c.log.String(), "cannot enable the keepalive") {
		t.Errorf("a missing interface was to keep trying:\n%s", c.log)
	}
}
