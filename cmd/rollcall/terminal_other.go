//go:build !unix

package main

import (
	"errors"
	"os"
)

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func echoOff(*os.File) (restore func(), err error) {
	return nil, errors.New("not on this system")
}
