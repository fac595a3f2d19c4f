package updater

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	b.update(Failed, "404")
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	values := map[string]float64{}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if ls := m.GetLabel(); len(ls) > 0 && ls[0].GetValue() == "l" && m.GetGauge() != nil {
				values[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	if v, ok := values["coredns_lists_age_seconds"]; !ok || v < 0 || v > 60 {
		t.Errorf("age %v", values)
	}
	if values["coredns_lists_fetched_entries"] != 3 || values["coredns_lists_missing"] != 0 || values["coredns_lists_failures"] != 0 {
		t.Errorf("metrics %v", values)
	}
}
