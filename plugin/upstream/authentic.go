package upstream

// authentic reports whether the AD bit of a resolver's answers means something: whether no
// other host could have written it (RFC 6840, section 5.7; RFC 4035, section 4.9.3). A query
// to a loopback address never leaves the box.
func (r *resolver) authentic() bool {
	return r.Transport.Encrypted() || r.Addr.Addr().IsLoopback() || r.opts.trustAD
}
