package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever recovers from a panic logs it by fault.Log, which quotes nothing of what was in work.
func TestFaults(t *testing.T) {
	found := 0
	for _, dir := range []string{".", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && tests[path]:
				return filepath.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				var body *ast.BlockStmt
				switch n := n.(type) {
				case *ast.FuncDecl:
					body = n.Body
				case *ast.FuncLit:
					body = n.Body
				}
				if body == nil || !calls(body, "recover") {
					return true
				}
				found++
				if !calls(body, "fault.Log") {
					t.Errorf("%s: who recovers here does not call fault.Log", set.Position(n.Pos()))
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 8 {
		t.Errorf("%d places recover: too few to be all", found)
	}
}

// calls tells whether a function calls another by that name, itself and not in one that it has within.
func calls(body *ast.BlockStmt, name string) (yes bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.CallExpr:
			switch f := n.Fun.(type) {
			case *ast.Ident:
				yes = yes || f.Name == name
			case *ast.SelectorExpr:
				of, ok := f.X.(*ast.Ident)
				yes = yes || ok && of.Name+"."+f.Sel.Name == name
			}
		}
		return true
	})
	return yes
}
