package lists

// Kind is what a line says about names.
type Kind uint8

const (
	Suffix  Kind = iota // the name and every name below it
	Below               // every name below it, but not the name
	Full                // the name alone
	Keyword             // every name that contains the text
	Regexp              // every name that the expression finds, in RE2 syntax
)

// Exception is how an entry takes names out of its list again, or withstands that.
type Exception uint8

const (
	// NoException puts names on the list.
	NoException Exception = iota
	// Always takes names out whatever else the list says: AutoProxy's @@.
	Always
	// Specific takes names out unless a longer name of the list puts them back:
	// dnsmasq's server=/name/#, which wins over server=/name/ADDRESS. It also wins
	// over keywords and regular expressions.
	Specific
	// Insist is no exception but withstands them: the entry puts names on the list
	// whatever exceptions say, as AdGuard's $important does.
	Insist
)

// excepts reports whether an entry takes names out.
func (x Exception) excepts() bool { return x == Always || x == Specific }

// Entry is one rule of a list.
type Entry struct {
	Kind      Kind
	Exception Exception
	// Text is a canonical name (lower case, ASCII, no trailing dot), a keyword in
	// lower case, or a regular expression. Names are compared in lower case and
	// without a trailing dot.
	Text string
}

// String is the kind as users write it.
func (k Kind) String() string {
	return [...]string{"suffix", "below", "full", "keyword", "regexp"}[k]
}
