package nft

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft/rule"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// wanted is a table with one set of each kind.
func wanted() *Table {
	return &Table{
		Name: "t",
		Sets: []Set{
			{Name: "exclude", Family: gateway.V4, Ranges: span.Merge(prefixes("10.0.0.0/8"), gateway.V4), Required: true},
			{Name: "learned", Family: gateway.V4, Timeout: true},
			{Name: "prefixes", Family: gateway.V4, Ranges: span.Merge(many(2*1200), gateway.V4)},
		},
		Chains: []Chain{{Name: "c", Rules: []rule.Rule{rule.New("r", rule.DaddrIn(gateway.V4, "prefixes"), rule.Accept())}}},
	}
}

// has is what the kernel has of a set.
func has(s Set) setState {
	typ, length := keyType(s.Family)
	return setState{name: s.Name, flags: s.flags(), keyType: typ, keyLen: length, size: s.Size}
}

// made runs the steps of an application and returns what each would send, in short.
func made(t *testing.T, a *Application, contents Contents) (steps []string) {
	t.Helper()
	for step := range a.Steps(contents) {
		b := newBatch(nil)
		if err := step.write(b); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, o := range b.ops {
			words = append(words, o.String())
		}
		if words = slices.Compact(words); step.Rules {
			words = append([]string{"RULES"}, words...)
		}
		steps = append(steps, fmt.Sprint(words))
	}
	return steps
}

// TestSteps: what rules look up is there before they are, but for the prefixes of a table
// that is made; transactions are bounded, and one changes the rules of all copies.
func TestSteps(t *testing.T) {
	fill := "[add elements to set prefixes]"
	ruleText := "add rule to chain c: " + wanted().Chains[0].Rules[0].String()
	there := &state{table: tableState{exists: true}, sets: []setState{has(wanted().Sets[0]), has(wanted().Sets[1])},
		ranges: map[string][]span.Range{"exclude": wanted().Sets[0].Ranges}, rules: map[string][]ruleState{}}
	nothing := func() *state { return &state{rules: map[string][]ruleState{}} }
	fresh := func(table string) string {
		return "add table " + table + " add set exclude add elements to set exclude add set learned add elements to set learned add set prefixes add chain c " + ruleText
	}
	for _, c := range []struct {
		name string
		have []*state
		made int // sets with timeouts
		want []string
	}{
		{"nothing there", []*state{nothing()}, 1, []string{"[RULES " + fresh("t") + "]", fill, fill, fill, fill, fill}},
		{"without the prefixes and the chain", []*state{there}, 0, []string{"[add set prefixes]", fill, fill, fill, fill, fill, "[RULES add chain c " + ruleText + "]"}},
		{"two copies, one missing", []*state{there, nothing()}, 1, []string{"[add set prefixes]", fill, fill, fill, fill, fill,
			"[RULES add chain c " + ruleText + " " + fresh("t_replica") + "]", fill, fill, fill, fill, fill}},
	} {
		a := &Application{table: wanted()}
		for i, have := range c.have {
			p, err := diff(have, a.table, 0, 1, false)
			if err != nil {
				t.Fatal(err)
			}
			p.cut(maxPerTurn)
			a.copies = append(a.copies, &tableCopy{name: []string{"t", "t_replica"}[i], have: have, plan: p})
		}
		asked := 0
		contents := func(set SetRef, fresh bool) []Element {
			if asked++; !fresh || set != a.table.ref("learned") {
				t.Errorf("%s: asked for the contents of %s, fresh %v", c.name, set, fresh)
			}
			return []Element{{Addr: addr("8.8.8.8"), Left: 1}}
		}
		if diff := cmp.Diff(c.want, made(t, a, contents)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.name, diff)
		}
		if asked != c.made {
			t.Errorf("%s: asked for contents %d times, want %d", c.name, asked, c.made)
		}
	}
}

// TestRemedyFor: one rule says what may help against an error.
func TestRemedyFor(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Remedy
	}{
		{fmt.Errorf("read: %w", ErrNoSet), Reread},
		{fmt.Errorf("%w: send", ErrBroken), Reopen},
		{fmt.Errorf("apply: %w", &Refusal{Errno: 17}), Replace}, // EEXIST
		{&Refusal{Errno: 1}, GiveUp},                            // EPERM
		{ErrOwned, GiveUp},
	} {
		if got := RemedyFor(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
