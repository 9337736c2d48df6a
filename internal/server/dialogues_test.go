package server_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/xmpptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDialogues plays every dialogue in testdata/dialogues; see package xmpptest for how to write one.
func TestDialogues(t *testing.T) {
	paths, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { xmpptest.Run(t, path) })
	}
}
