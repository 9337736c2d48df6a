// Package measure reads what processes cost and sums up what was measured.
package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time, user and system, that the processes used since they began. The clock is the one behind
// the utime and stime of /proc/PID/stat, read in nanoseconds instead of ticks of 10 ms (clock_getcpuclockid(3)); where the
// kernel refuses it, /proc is read.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		var ts unix.Timespec
		clock := int32(^pid)<<3 | 2 // the process's clock of all its threads, as the C library composes it
		if err := unix.ClockGettime(clock, &ts); err == nil {
			sum += time.Duration(ts.Nano())
			continue
		}
		ticks, err := statTicks(pid)
		if err != nil {
			return 0, err
		}
		sum += ticks
	}
	return sum, nil
}

// statTicks reads utime and stime from /proc/PID/stat, in ticks of 1/100 s (USER_HZ, the same on every Linux).
func statTicks(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(b)
}

func parseStat(b []byte) (time.Duration, error) {
	// The second field is the program's name in parentheses and may hold anything; utime and stime are fields 14 and 15.
	i := bytes.LastIndexByte(b, ')')
	fields := bytes.Fields(b[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat: not understood: %q", b)
	}
	utime, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	stime, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return time.Duration(utime+stime) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// RSS returns the resident memory of the processes, in bytes. It is summed up from the mappings, because the counters
// in status and statm are kept per processor and may be some hundred KiB off.
func RSS(pids ...int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		kib, err := parseRollup(b)
		if err != nil {
			return 0, err
		}
		sum += kib << 10
	}
	return sum, nil
}

func parseRollup(b []byte) (kib int64, err error) {
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "Rss:" {
			return strconv.ParseInt(string(f[1]), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/PID/smaps_rollup: no Rss in %q", b)
}
