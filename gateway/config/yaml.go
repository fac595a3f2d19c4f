package config

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/yamlnode"
)

// YAML prints a configuration as a gateway.yaml with every default written out and every
// path absolute. Parse reads the same configuration from it.
func YAML(c *gateway.Config) string {
	routes, lists := &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.MappingNode}
	for _, r := range c.Choices() {
		if r.Name == gateway.WAN {
			var pairs []any
			if len(r.Prefixes) > 0 {
				pairs = []any{keyPrefixes, yamlnode.Flow(r.Prefixes)}
			}
			routes.Content = append(routes.Content, yamlnode.Scalar(r.Name), yamlnode.Mapping(pairs...))
			continue
		}
		routes.Content = append(routes.Content, yamlnode.Scalar(r.Name), yamlnode.Mapping(routePairs(r)...))
	}
	for _, l := range c.Lists {
		pairs := []any{"file", l.File}
		if s, fetched := c.Source(l.Name); fetched {
			pairs = sourcePairs(s)
		} else {
			pairs = append(pairs, "max_shrink", fmt.Sprintf("%d%%", 100-l.Keep))
		}
		if l.Format != "" {
			pairs = append(pairs, "format", l.Format)
		}
		lists.Content = append(lists.Content, yamlnode.Scalar(l.Name), yamlnode.Mapping(pairs...))
	}
	var wanResolvers any = yamlnode.Flow(words(c.WANResolvers))
	if c.WANHanded {
		wanResolvers = gateway.HandedOut
	}
	pairs := []any{
		"lan", yamlnode.Flow(c.LAN),
		"wan", wanNode(c),
		"wan_resolvers", wanResolvers,
		"mask", yamlnode.Hex(uint32(c.Mask)),
		"exclude", yamlnode.Flow(words(c.Exclude)),
		"priority", c.Priority,
		"set_size", c.SetSize,
		"lifetime", yamlnode.Mapping("floor", shortDuration(c.Lifetime.Floor),
			"grace", shortDuration(c.Lifetime.Grace), "ceiling", shortDuration(c.Lifetime.Ceiling)),
		keyCheckInterval, intervalOrOff(c.CheckInterval),
		"owner", string(c.Owner),
		"redirect_dns", redirectNode(c.Redirect),
	}
	if len(c.Clients) > 0 {
		pairs = append(pairs, keyClients, yamlnode.Mapping(clientsPairs(c.Clients)...))
	}
	pairs = append(pairs, keyDefault, defaultNode(c.Default))
	text, err := yaml.Marshal(yamlnode.Mapping(append(pairs, "routes", routes, "lists", lists)...))
	if err != nil {
		return fmt.Sprintf("# %v\n", err)
	}
	return string(text)
}

func intervalOrOff(d time.Duration) string {
	if d == 0 {
		return "off"
	}
	return shortDuration(d)
}

// redirectNode prints the redirection as off, or as its keys.
func redirectNode(r gateway.Redirect) *yaml.Node {
	if !r.On {
		return yamlnode.Scalar("off")
	}
	return yamlnode.Mapping("except", yamlnode.Flow(words(r.Except)), "dot", choose(r.RejectDoT, "reject", "allow"))
}

// routePairs returns a route's keys and values in turn, in the order of the output.
func routePairs(r gateway.Route) []any {
	var pairs []any
	add := func(when bool, key string, value any) {
		if when {
			pairs = append(pairs, key, value)
		}
	}
	tunnel := r.Egress.Kind == gateway.EgressWireGuard
	add(tunnel, keyWireGuard, r.Egress.File)
	add(tunnel, "link", r.Egress.Link)
	add(r.Egress.Kind == gateway.EgressNextHop, keyNextHop, yamlnode.Flow(words(r.Egress.NextHops)))
	add(!tunnel && r.Egress.Link != "", keyInterface, r.Egress.Link)
	if r.Group != nil {
		pairs = append(pairs, groupPairs(r.Group)...)
	}
	add(true, "on_down", string(r.OnDown))
	add(true, "mark", yamlnode.Hex(r.Mark.Value))
	add(true, "table", r.Table)
	add(true, "priority", r.Priority)
	add(r.MTU != 0, "mtu", r.MTU)
	if prefixes := slices.Clone(r.Prefixes); r.AllowedIPs {
		add(true, "prefixes", yamlnode.Flow(append(prefixes, allowedIPs)))
	} else {
		add(len(prefixes) > 0, "prefixes", yamlnode.Flow(prefixes))
	}
	add(len(r.Clients) > 0, keyClients, yamlnode.Flow(r.Clients))
	if r.Match != nil {
		add(true, keyMatch, matchNode(r.Match))
	}
	add(true, "private", choose(r.LearnPrivate, "learn", "refuse"))
	add(r.Group == nil && r.SNAT.Mode != gateway.SNATTo, "snat", string(r.SNAT.Mode))
	add(r.SNAT.Mode == gateway.SNATTo, "snat", yamlnode.Flow(words(r.SNAT.Addrs)))
	add(true, "evict", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(r.Evict)})
	add(tunnel, keyInbound, choose(r.AcceptInbound, "accept", "refuse"))
	add(tunnel, keyTimeout, shortDuration(r.Handshake.Timeout))
	add(tunnel, keyLimit, shortDuration(r.Handshake.Limit))
	add(tunnel, keyProbe, intervalOrOff(r.Handshake.Probe))
	add(tunnel, "hooks", choose(r.IgnoreHooks, "ignore", "refuse"))
	if len(r.Probing.Probes) > 0 {
		pairs = append(pairs, probingPairs(r.Probing)...)
	}
	return pairs
}

func probingPairs(p gateway.Probing) []any {
	return []any{keyProbes, yamlnode.Flow(words(p.Probes)), keyEvery, shortDuration(p.Every), keyFails, p.Fails, keyGood, p.Good}
}

// sourcePairs returns the keys and values of a fetched list in turn, in the order of the
// output. The values of headers may be secrets: a caller that publishes the text must
// remove them.
func sourcePairs(s gateway.Source) []any {
	pairs := []any{"url", yamlnode.Flow(s.URLs)}
	if s.Select != "" {
		pairs = append(pairs, "select", s.Select)
	}
	pairs = append(pairs, "every", shortDuration(s.Every), "via", s.Via)
	if len(s.Resolvers) > 0 {
		pairs = append(pairs, "resolvers", yamlnode.Flow(words(s.Resolvers)))
	}
	if s.SHA256URL != "" {
		pairs = append(pairs, "sha256_url", s.SHA256URL)
	}
	if s.Signature.Key != "" {
		signature := []any{"key", s.Signature.Key}
		if s.Signature.URL != "" {
			signature = append(signature, "url", s.Signature.URL)
		}
		pairs = append(pairs, "signature", yamlnode.Mapping(signature...))
	}
	if len(s.Headers) > 0 {
		var lines []any
		for _, h := range s.Headers {
			lines = append(lines, h.Name, h.Value)
		}
		pairs = append(pairs, "headers", yamlnode.Mapping(lines...))
	}
	return append(pairs, "timeout", shortDuration(s.Timeout), "max_size", int(s.MaxSize), "min_entries", s.MinEntries,
		"max_shrink", fmt.Sprintf("%d%%", s.MaxShrink), "missing", string(s.Missing))
}

func choose(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// words prints values.
func words[T fmt.Stringer](values []T) []string {
	var words []string
	for _, v := range values {
		words = append(words, v.String())
	}
	return words
}
