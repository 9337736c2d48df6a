package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxPasswordLine is more than any password may have; what is longer is somebody's mistake.
const maxPasswordLine = 4096

// readPassword asks for a new password on a terminal, twice and without echo, and otherwise takes the first line of
// standard input.
func readPassword(env *environment, fromStdin bool) (string, error) {
	if fromStdin || !isTerminal(env.stdin) {
		return firstLine(env.stdin)
	}
	password, err := ask(env.ctx, env, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask(env.ctx, env, "Again: ")
	if err != nil {
		return "", err
	}
	if password != again {
		return "", errors.New("the two passwords differ")
	}
	return password, nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordLine)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("the password can't be read from standard input: %w", err)
	case line == "":
		return "", errors.New("standard input has no password: write it there, on one line")
	}
	return line, nil
}

// ask shows a prompt and reads one line without echo. It returns when ctx is done, with the echo on again.
func ask(ctx context.Context, env *environment, prompt string) (string, error) {
	fmt.Fprint(env.stderr, prompt)
	restore, err := echoOff(env.stdin)
	if err != nil {
		return "", fmt.Errorf("the terminal does not stop its echo (use --password-stdin): %w", err)
	}
	defer func() {
		restore()
		fmt.Fprintln(env.stderr)
	}()
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // after a signal it is left to the end of the process: a read of a terminal can't be called off
		line, err := firstLine(byteByByte{env.stdin})
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		return a.line, a.err
	case <-ctx.Done():
		return "", errors.New("interrupted")
	}
}

// byteByByte keeps a buffered reader from taking more of a terminal than the line it is asked for: the next prompt
// wants the rest.
type byteByByte struct{ f *os.File }

func (b byteByByte) Read(p []byte) (int, error) { return b.f.Read(p[:min(len(p), 1)]) }
