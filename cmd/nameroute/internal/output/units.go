package output

import (
	"fmt"
	"time"
)

// Bytes prints a size in its largest unit, as `wg show` does.
func Bytes(n int64) string {
	v, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// Duration prints a duration in its largest unit: 3d, 2h, 5m, 1s.
func Duration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}} {
		if d >= u.unit {
			return fmt.Sprintf("%d%s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%ds", max(0, d/time.Second))
}

// Since prints how long ago a moment was, or - for the zero time.
func Since(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return Duration(now.Sub(at))
}

// OrDash returns - in place of an empty text.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
