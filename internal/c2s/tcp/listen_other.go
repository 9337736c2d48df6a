//go:build !linux

package tcp

import "syscall"

// setUserTimeout does nothing: there, data that is not acknowledged ends a connection after the system's own time.
func setUserTimeout(_, _ string, _ syscall.RawConn) error {
	_ = userTimeout // used on Linux only
	return nil
}
