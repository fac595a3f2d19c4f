package format

import (
	"slices"
	"strings"
)

// hasModifier reports whether a rule ends with modifiers that ad blockers know.
func hasModifier(rule string) bool {
	_, mods := cutModifiers(rule)
	for _, m := range mods {
		key, _, _ := strings.Cut(strings.TrimPrefix(m, "~"), "=")
		if !slices.Contains(modifiers, key) {
			return false
		}
	}
	return len(mods) > 0
}

// harmless reports whether the modifiers of a rule leave it an entry on its names.
func harmless(rule string) bool {
	_, mods := cutModifiers(rule)
	return !slices.ContainsFunc(mods, func(m string) bool {
		return !slices.Contains([]string{"important", "all", "document", "doc", "popup", "network", "third-party", "3p", "~first-party"}, m)
	})
}

// modifiers are what may follow the '$' of a rule, in lists for browsers too.
var modifiers = []string{"important", "badfilter", "denyallow", "client", "ctag", "dnstype", "dnsrewrite", "all", "app", "cname", "csp", "doc",
	"document", "domain", "elemhide", "first-party", "font", "from", "frame", "generichide", "genericblock", "ghide", "image", "inline-script",
	"jsinject", "match-case", "media", "method", "network", "object", "other", "permissions", "ping", "popunder", "popup", "redirect",
	"redirect-rule", "removeparam", "rewrite", "script", "specifichide", "strict1p", "strict3p", "stylesheet", "subdocument", "third-party",
	"to", "webrtc", "websocket", "xhr", "xmlhttprequest", "1p", "3p", "css", "urlblock", "header"}
