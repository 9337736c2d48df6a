package session

import (
	"sync"
	"testing"
)

func TestLatch(t *testing.T) {
	var l Latch
	var wg sync.WaitGroup
	for range 8 {
		early := l.Done()
		wg.Go(func() { <-early })
	}
	select {
	case <-l.Done():
		t.Fatal("it is done before it was opened")
	default:
	}
	l.Open()
	l.Open()
	wg.Wait()
	<-l.Done()
	if n := testing.AllocsPerRun(10, func() {
		l = Latch{}
		l.Open()
		<-l.Done()
	}); n != 0 {
		t.Errorf("a latch that nobody waits for allocates %v times", n)
	}
}
