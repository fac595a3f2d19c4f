//go:build !race

package nft

// slack is how much slower than promised things may be.
const slack = 1
