//go:build !race

package nft

// raceSlack is how much slower than promised things may be.
const raceSlack = 1
