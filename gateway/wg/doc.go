// Package wg turns a provider's WireGuard file into a tunnel: it reads wg-quick
// files, resolves their endpoints by the WAN, makes the device (the kernel's
// WireGuard, or an embedded one where the kernel has none), changes it only where
// it differs, and tells from its counters whether the far end still answers.
//
// Routes, policy rules and the nft table are not its business.
package wg
