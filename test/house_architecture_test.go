package test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const architecture = "docs/architecture.md"

var (
	qualifiedName = regexp.MustCompile("`([a-z]+[0-9]*(?:\\.[A-Z][A-Za-z0-9]*)+)(?:\\([^`]*\\))?`")
	packagePath   = regexp.MustCompile("`((?:cmd|corefile|gateway|lists|plugin|test|updater)(?:/[a-z0-9]+)*)`")
)

// The page explains the code by the names that the code has.
func TestArchitectureNamesExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", architecture))
	if err != nil {
		t.Fatal(err)
	}
	known, dirs := exported(t)
	found := 0
	for i, line := range strings.Split(string(text), "\n") {
		for _, m := range qualifiedName.FindAllStringSubmatch(line, -1) {
			if found++; !known[m[1]] {
				t.Errorf("%s:%d: there is no %s", architecture, i+1, m[1])
			}
		}
		for _, m := range packagePath.FindAllStringSubmatch(line, -1) {
			if !dirs[m[1]] {
				t.Errorf("%s:%d: there is no package %s", architecture, i+1, m[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("%s: %d names of the code, want the two walks", architecture, found)
	}
}

// exported returns the exported names of all packages, such as nft.Table and
// nft.Table.String, and all folders that hold packages.
func exported(t *testing.T) (names, dirs map[string]bool) {
	names, dirs = map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test && s.dir != "test" {
			continue
		}
		for d := s.dir; d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
		pkg := s.file.Name.Name
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				names[strings.Join(append([]string{pkg}, receiver(d), d.Name.Name), ".")] = true
				if d.Recv == nil {
					names[pkg+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if typ, ok := spec.(*ast.TypeSpec); ok {
						names[pkg+"."+typ.Name.Name] = true
					}
				}
			}
		}
	}
	return names, dirs
}

// receiver returns the name of a method's receiver type, "" for a function.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	typ := f.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
