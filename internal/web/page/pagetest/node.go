package pagetest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// RunScripts runs the tests of a page's scripts, in scripts_test of the package's folder, with node.
func RunScripts(t *testing.T) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("SKIPPED: the page's scripts are tested with node, which is not installed")
	}
	tests, err := filepath.Glob("scripts_test/*.test.js")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), node, append([]string{"--test"}, tests...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
