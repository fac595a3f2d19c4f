package gateway

import "testing"

// The numbers of uplinks are those of no route, and a link's does not depend on the others.
func TestUplinks(t *testing.T) {
	cfg := Config{Mask: DefaultMask, Priority: DefaultPriority}
	first := cfg.Uplinks([]string{"wan1", "wan0", "wan1"})
	if len(first) != 2 || first[0].Name != "wan0" || first[0].Mark == first[1].Mark || len(cfg.Uplinks([]string{"wan0", "wan0"})) != 0 {
		t.Fatalf("%+v", first)
	}
	if three := cfg.Uplinks([]string{"wan0", "wan1", "ppp0"}); len(three) != 3 || three[1].Mark != first[0].Mark || three[2].Mark != first[1].Mark {
		t.Errorf("%+v, before %+v", three, first)
	}
	n := first[0].Number
	for name, r := range map[string]Route{
		"mark": {Mark: cfg.Mask.Mark(n)}, "table": {Table: DefaultTable + n}, "priority": {Priority: cfg.Priority + n},
	} {
		with := cfg
		with.Routes = []Route{r}
		if u := with.Uplinks([]string{"wan0", "wan1"}); u[0].Number == n || u[0].Number < 1 || u[0].Number >= cfg.Mask.Max() {
			t.Errorf("a route with its %s: %+v", name, u[0])
		}
	}
	small := Config{Mask: Mask(0x3), Routes: []Route{{Mark: Mask(0x3).Mark(1)}, {Mark: Mask(0x3).Mark(2)}}}
	if u := small.Uplinks([]string{"wan0", "wan1"}); len(u) != 0 {
		t.Errorf("no number is free: %+v", u)
	}
}
