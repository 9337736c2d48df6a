package measure

import (
	"errors"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// PinApart keeps this process on all cores but the first that it may use; what is started by OnFirst gets that one. So the two do not
// take turns on a core. It fails where there is one core only.
func PinApart() error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	if all.Count() < 2 {
		return errors.New("there is one core only")
	}
	for core := 0; ; core++ {
		if all.IsSet(core) {
			first.Set(core)
			all.Clear(core)
			break
		}
	}
	ours = all
	runtime.GOMAXPROCS(ours.Count())
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads { // those that come later are as the one that starts them
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &ours); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// first and ours are the cores of PinApart; empty without it.
var first, ours unix.CPUSet

// OnFirst runs what starts a process, which then has the first core; anywhere, without PinApart.
func OnFirst(start func() error) error {
	if first.Count() == 0 {
		return start()
	}
	runtime.LockOSThread() // a process is where the thread is that starts it
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return err
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &ours))
}
