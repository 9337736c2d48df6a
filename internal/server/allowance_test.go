package server

import (
	"log/slog"
	"testing"
	"testing/fstest"
)

func TestSystemMemory(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, tc := range map[string]struct {
		files fstest.MapFS
		want  uint64
	}{
		"nothing to read": {nil, 0},
		"no limit": {fstest.MapFS{"proc/meminfo": file("MemTotal:       1024 kB\nMemFree: 3 kB\n"), "proc/self/cgroup": file("0::/a\n"),
			"sys/fs/cgroup/a/memory.max": file("max\n")}, 1 << 20},
		"of the group": {fstest.MapFS{"proc/meminfo": file("MemTotal: 1024 kB\n"), "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("5000\n"), "sys/fs/cgroup/a/memory.max": file("9000\n")}, 5000},
		"of the one above": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("9000\n")}, 9000},
		"of one in the middle, the one below says nothing": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b/c\n"),
			"sys/fs/cgroup/a/b/memory.max": file("6000\n"), "sys/fs/cgroup/a/memory.max": file("9000\n"), "sys/fs/cgroup/a/b/c/memory.current": file("1\n")}, 6000},
		"of a namespace's own": {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("8000\n")}, 8000},
		"where it is slowed down": {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("9000\n"), "sys/fs/cgroup/a/b/memory.high": file("max\n"), "sys/fs/cgroup/a/memory.high": file("4000\n")}, 4000},
		"no controller of memory": {fstest.MapFS{"proc/meminfo": file("MemTotal: 1024 kB\n"), "proc/self/cgroup": file("0::/a\n"),
			"sys/fs/cgroup/a/cgroup.procs": file("1\n")}, 1 << 20},
		"both versions, the memory in version 1": {fstest.MapFS{"proc/self/cgroup": file("4:memory:/x\n0::/x\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("7000\n"), "sys/fs/cgroup/unified/x/memory.max": file("5\n")}, 7000},
		"no number": {fstest.MapFS{"proc/self/cgroup": file("0::/a\n"), "sys/fs/cgroup/a/memory.max": file("-1\n")}, 0},
		"version 1": {fstest.MapFS{"proc/self/cgroup": file("3:cpu:/x\n4:memory:/x\n"),
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": file("7000\n")}, 7000},
		"version 1 in a container": {fstest.MapFS{"proc/self/cgroup": file("4:memory:/docker/0123\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("7000\n")}, 7000},
		"version 1 without": {fstest.MapFS{"proc/meminfo": file("MemTotal: 1024 kB\n"), "proc/self/cgroup": file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 1 << 20},
	} {
		if got := systemMemory(tc.files); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
}

// Whoever is at the mark does not let clients in and out of turn.
func TestHighWater(t *testing.T) {
	a, log := &allowance{bytes: 1000}, slog.New(slog.DiscardHandler)
	for _, step := range []struct {
		used uint64
		full bool
	}{{800, false}, {801, true}, {790, true}, {751, true}, {750, false}, {790, false}, {900, true}} {
		if a.look(step.used, log); a.full.Load() != step.full {
			t.Errorf("with %d of 1000 bytes: full is %v", step.used, !step.full)
		}
	}
	if used := usedMemory(); used < 1<<20 || used > 1<<40 {
		t.Errorf("%d bytes are used", used)
	}
}
