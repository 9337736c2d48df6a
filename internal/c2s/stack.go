package c2s

import "runtime"

// stackBytes is what signing in takes of the stack, down to what it writes and what it tells the contacts.
const stackBytes = 6 << 10

// widen gives the goroutine that calls it a stack of stackBytes and more. A stack grows to twice its size whenever it has become
// too small, and all that is on it is copied: for a goroutine that will need it, once and with nothing on it is cheaper.
//
//go:noinline
func widen() {
	var room [stackBytes]byte
	runtime.KeepAlive(&room)
}
