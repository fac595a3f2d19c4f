// Package probe finds out whether routes work, by packets that are sent through them. Their
// sockets carry the route's mark from before they are connected, so that they leave through
// the route or not at all.
package probe
