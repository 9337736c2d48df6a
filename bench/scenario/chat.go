package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/bench/measure"
)

// chat has users talk in pairs. Window messages of a pair are under way at any time: whoever gets one answers with the
// next. After a fifth of the duration, which warms up, messages are counted for the duration.
func (r *run) chat(ctx context.Context) error {
	talk := &conversation{}
	talk.answering.Store(true)
	r.crowd.chat.Store(talk)
	for i := 0; i < len(r.crowd.members); i += 2 {
		m := r.crowd.members[i]
		var first []byte
		for range r.Window {
			first = m.appendMessage(first, int64(time.Since(r.crowd.base)))
		}
		if err := m.Send(first); err != nil {
			return err
		}
	}
	if err := pause(ctx, r.Duration/5); err != nil {
		return err
	}
	stop, err := r.stopwatch(ctx, "chat")
	if err != nil {
		return err
	}
	talk.recording.Store(true)
	before := r.crowd.total((*member).receivedMessages)
	if err := pause(ctx, r.Duration); err != nil {
		return err
	}
	count := r.crowd.total((*member).receivedMessages) - before
	c, err := stop()
	if err != nil {
		return err
	}
	talk.recording.Store(false)
	talk.answering.Store(false)
	if count == 0 {
		return fmt.Errorf("no message arrived")
	}
	r.addCost("chat", "message", c, int(count))
	return r.addLatencies(ctx, "chat", "")
}

// addLatencies adds the times of the messages that were recorded.
func (r *run) addLatencies(ctx context.Context, scenario, what string) error {
	all, err := r.collect(ctx)
	if err != nil {
		return err
	}
	slices.Sort(all)
	r.add(scenario, what+"p50", "ms", measure.Percentile(all, 50)/1000)
	r.add(scenario, what+"p99", "ms", measure.Percentile(all, 99)/1000)
	return nil
}

// collect waits until everything that was sent has arrived, and takes the times of the messages that were recorded, in microseconds.
func (r *run) collect(ctx context.Context) (all []uint32, err error) {
	deadline := time.Now().Add(r.Timeout)
	for {
		// What is sent grows only with what is received, so it is read first: equal means that nothing is under way.
		sent := r.crowd.total((*member).sentMessages)
		missing := sent - r.crowd.total((*member).receivedMessages)
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d of %d messages missing after %v", missing, sent, r.Timeout)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	for _, m := range r.crowd.members {
		all = append(all, m.latencies...)
		m.latencies = nil // everything has arrived
	}
	return all, nil
}

func (m *member) sentMessages() uint64     { return m.sent.Load() }
func (m *member) receivedMessages() uint64 { return m.received.Load() }
func (m *member) repeatedMessages() uint64 { return m.again.Load() }

// total sums up a counter of all members.
func (c *crowd) total(counter func(*member) uint64) (sum uint64) {
	for _, m := range c.members {
		sum += counter(m)
	}
	return sum
}
