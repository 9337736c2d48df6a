package server

import (
	"io/fs"
	"log/slog"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
)

// An allowance is the memory that the server may use. Beyond the high-water mark no client is let in any more, so that
// those who are there can be served; the system would end the process, and everybody's session with it.
type allowance struct {
	bytes uint64 // 0: unknown
	full  atomic.Bool
}

// Parts of the allowance, in percent.
const (
	highWater  = 80
	lowWater   = 75 // below it clients are let in again
	collectAt  = 90 // GOMEMLIMIT: the collector works harder rather than to go beyond it
	percentage = 100
)

// newAllowance gives what is configured, or what the system says.
func newAllowance(configured int64) *allowance {
	if configured > 0 {
		return &allowance{bytes: uint64(configured)}
	}
	return &allowance{bytes: systemMemory(os.DirFS("/"))}
}

// limitHeap sets GOMEMLIMIT unless the environment does, and gives a function that sets it back.
func (a *allowance) limitHeap(log *slog.Logger) (undo func()) {
	if a.bytes == 0 || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	limit := int64(a.bytes / percentage * collectAt)
	before := debug.SetMemoryLimit(limit)
	log.Debug("memory", "allowed", a.bytes, "gomemlimit", limit)
	return func() { debug.SetMemoryLimit(before) }
}

// look sees whether there is memory to spare.
func (a *allowance) look(used uint64, log *slog.Logger) {
	if a.bytes == 0 {
		return
	}
	mark := a.bytes / percentage * highWater
	was := a.full.Load()
	if was {
		mark = a.bytes / percentage * lowWater
	}
	if is := used > mark; is != was {
		a.full.Store(is)
		if is {
			log.Error("memory is short: no client is let in until there is more", "used", used, "allowed", a.bytes)
		} else {
			log.Info("there is memory again: clients are let in", "used", used, "allowed", a.bytes)
		}
	}
}

// usage is what usedMemory reads.
var usage = [...]string{
	"/memory/classes/total:bytes", "/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes",
	"/memory/classes/heap/objects:bytes", "/gc/heap/live:bytes",
}

// usedMemory is what the process cannot give back: all that the runtime has of the system, without what is free and what
// has been allocated since the last collection, of which most is garbage.
func usedMemory() uint64 {
	var m [len(usage)]metrics.Sample
	for i := range usage {
		m[i].Name = usage[i]
	}
	metrics.Read(m[:])
	total, released, free, objects, live := m[0].Value.Uint64(), m[1].Value.Uint64(), m[2].Value.Uint64(), m[3].Value.Uint64(), m[4].Value.Uint64()
	return total - min(total, released+free+objects-min(objects, live))
}

// systemMemory gives the least of what the machine has and what the process's control groups allow, 0 when neither can be
// read, as on other systems than Linux.
func systemMemory(root fs.FS) uint64 {
	least := machineMemory(root)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(groups)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		mount, files := "sys/fs/cgroup", []string{"memory.max"}
		switch {
		case controllers == "": // version 2, where a group beyond memory.high is slowed down until it is of no use
			files = append(files, "memory.high")
		case strings.Contains(","+controllers+",", ",memory,"):
			mount, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		default:
			continue
		}
		// Each group is bounded by those above it, too. In a container the group that is named may not be there to see.
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			for _, file := range files {
				if n := readBytes(root, path.Join(mount, dir, file)); n > 0 && (least == 0 || n < least) {
					least = n
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// readBytes reads a file that holds a number of bytes; 0 for "max" and for one that is not there.
func readBytes(root fs.FS, name string) uint64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// machineMemory reads /proc/meminfo (proc_meminfo(5)).
func machineMemory(root fs.FS) uint64 {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
