package e2e

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Two who build the same sources, in folders of their own, get the same program, byte for byte.
func TestReproducibleBuild(t *testing.T) {
	t.Parallel()
	var sums [2][sha256.Size]byte
	dirs := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "another folder")}
	for _, dir := range dirs {
		copySources(t, dir)
	}
	for i, dir := range dirs {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", "rollcall", "./cmd/rollcall")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(filepath.Join(dir, "rollcall"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(dir)) {
			t.Error("the program has the name of the folder in it that it was built in")
		}
		sums[i] = sha256.Sum256(b)
	}
	if sums[0] != sums[1] {
		t.Errorf("two builds: %x and %x", sums[0], sums[1])
	}
}

// copySources copies what the program is built from.
func copySources(t *testing.T, to string) {
	t.Helper()
	for _, name := range []string{"go.mod", "go.sum", "cmd", "internal", "rosterapi"} {
		from := filepath.Join("..", name)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = os.CopyFS(filepath.Join(to, name), os.DirFS(from))
		} else if err = os.MkdirAll(to, 0o755); err == nil {
			var b []byte
			if b, err = os.ReadFile(from); err == nil {
				err = os.WriteFile(filepath.Join(to, name), b, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
