package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// supervised tells the service manager that started the server, if there is one that wants to know (sd_notify(3)), when it
// is ready and when it stops, and now and then that it is alive. wait returns when ctx is done and all was said.
func supervised(ctx context.Context, ready <-chan struct{}, log *slog.Logger) (wait func()) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return func() {}
	}
	say := func(state string) {
		if err := notify(socket, state); err != nil {
			log.Warn("the service manager is not told", "state", state, "error", err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-ready:
			say("READY=1")
		case <-ctx.Done():
			return
		}
		alive(ctx, func() { say("WATCHDOG=1") })
		say("STOPPING=1")
	})
	return wg.Wait
}

// alive calls say twice in each period of the watchdog, until ctx is done.
func alive(ctx context.Context, say func()) {
	period, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || period <= 1 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(time.Duration(period) * time.Microsecond / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			say()
		case <-ctx.Done():
			return
		}
	}
}

// notify sends a state to the service manager's socket. A name that begins with @ is abstract, which net knows.
func notify(socket, state string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(state))
	return err
}
