package wire

// Features are what a query relies on and some resolvers, or the boxes before them, lack.
type Features uint8

// Features of queries.
const (
	UDP     Features = 1 << iota
	TCP              // or TLS
	EDNS             // RFC 6891
	Cookies          // RFC 7873
	Large            // datagrams of more than 512 bytes
	Case             // the reply repeats the case of the query's name

	NumFeatures  = 6
	NeedingEDNS  = EDNS | Large | Cookies
	EveryFeature = Features(1<<NumFeatures - 1)
)

// String names the features for the log.
func (f Features) String() string {
	s := ""
	for i, name := range [NumFeatures]string{"udp", "tcp", "edns", "cookies", "large udp", "case"} {
		if f&(1<<i) != 0 {
			s += ", " + name
		}
	}
	return s[min(len(s), 2):]
}
