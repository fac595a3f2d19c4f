package main

import (
	"encoding"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/check"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/explain"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/listing"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
)

// The page of the JSON names every field that is printed, with its type and whether it
// may be missing, in the order in which they come, and no other.
func TestJSONPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([a-z]+) \\| (.*?) ?\\|$")
	for name, of := range map[string]reflect.Type{"status": reflect.TypeFor[status.Doc](), "lists": reflect.TypeFor[[]listing.Row](), "check": reflect.TypeFor[check.Page](), "explain": reflect.TypeFor[explain.Doc]()} {
		var told []string
		for _, section := range sections {
			if strings.HasPrefix(section, name+"\n") {
				for _, m := range row.FindAllStringSubmatch(section, -1) {
					told = append(told, m[1]+" "+m[2])
				}
			}
		}
		if diff := cmp.Diff(fields(t, of, "", false), told); diff != "" {
			t.Errorf("%s (-printed +told):\n%s", name, diff)
		}
	}
}

// fields lists what a type becomes as JSON: path, ? where it may be missing, type.
func fields(t *testing.T, of reflect.Type, path string, missing bool) []string {
	leaf := func(kind string) []string {
		if missing {
			path += "?"
		}
		return []string{path + " " + kind}
	}
	switch {
	case of == reflect.TypeFor[time.Time]():
		return leaf("time")
	case of.Implements(reflect.TypeFor[json.Marshaler]()):
		t.Fatalf("%s: a %v, of which only itself knows what it prints", path, of)
	case of.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return leaf("string")
	}
	switch of.Kind() {
	case reflect.Pointer:
		return fields(t, of.Elem(), path, missing)
	case reflect.Slice:
		return fields(t, of.Elem(), path+"[]", missing)
	case reflect.String:
		return leaf("string")
	case reflect.Bool:
		return leaf("boolean")
	case reflect.Struct:
	default:
		return leaf("number")
	}
	var all []string
	for i := range of.NumField() {
		tag := of.Field(i).Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if of.Field(i).Anonymous && tag == "" {
			all = append(all, fields(t, of.Field(i).Type, path, missing)...)
			continue
		}
		if name == "" {
			t.Fatalf("%s: field %s has no name in JSON", path, of.Field(i).Name)
		}
		all = append(all, fields(t, of.Field(i).Type, strings.TrimPrefix(path+"."+name, "."), missing || options != "")...)
	}
	return all
}

// What is printed is what the types say: nothing adds to it on the way.
func TestJSONIsItsTypes(t *testing.T) {
	for _, v := range []any{&status.Doc{}, &listing.Row{}, &explain.Doc{}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var out map[string]any
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		for _, f := range fields(t, reflect.TypeOf(v), "", false) {
			first, _, _ := strings.Cut(strings.Fields(f)[0], ".")
			first = strings.TrimSuffix(first, "[]")
			if _, there := out[first]; !there && !strings.HasSuffix(strings.Fields(f)[0], "?") {
				t.Errorf("%T: %s is not printed", v, f)
			}
		}
	}
}
