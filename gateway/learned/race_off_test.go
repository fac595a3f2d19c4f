//go:build !race

package learned

// raceSlack is how much slower than promised things may be.
const raceSlack = 1
