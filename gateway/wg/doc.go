// Package wg turns a provider's file into a tunnel: it resolves the endpoints via the
// WAN, makes the device (the kernel's WireGuard, or an embedded one where the kernel has
// none), changes it only where it differs, and decides from its counters whether the
// peers still answer. It does not touch kernel routes, policy rules or the nft table.
package wg
