package c2s

import (
	"runtime"
	"testing"
	"unsafe"
)

// The stack of whoever signs in does not grow once more after widen: the compiler has not left out what nobody reads.
func TestWiden(t *testing.T) {
	moved := make(chan bool)
	go func() {
		var here byte
		widen()
		before := uintptr(unsafe.Pointer(&here))
		deep()
		moved <- before != uintptr(unsafe.Pointer(&here))
	}()
	if <-moved {
		t.Error("the stack has grown, and moved")
	}
}

//go:noinline
func deep() {
	var room [stackBytes - 1<<10]byte
	runtime.KeepAlive(&room)
}
