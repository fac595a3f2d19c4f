// Package probe tests routes by sending packets through them. Its sockets carry the route's mark
// before they connect, so that packets leave through the route or not at all.
package probe
