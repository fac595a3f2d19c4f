// Package wg turns a provider's file into a tunnel: it resolves the endpoints via the
// WAN, makes the device (the kernel's WireGuard, or an embedded one where the kernel has
// none), changes it only where it differs, and tells from its counters whether the far
// end still answers.
//
// Routes, policy rules and the nft table are not its business.
package wg
