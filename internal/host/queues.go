package host

// Queues is what waits in a host just now.
type Queues struct {
	Outboxes, LargestOutbox int // bytes that wait for clients: of all of them, and of the one with most
	Letters                 int // messages that wait for their commit, or behind those that do
	Requests                int // that were put off, see IQ.Later
}

// Queues looks at every session.
func (h *Host) Queues() (q Queues) {
	for _, s := range h.online.all() {
		n := s.Queued()
		q.Outboxes += n
		q.LargestOutbox = max(q.LargestOutbox, n)
	}
	for _, b := range h.boxes.list() {
		q.Letters += b.letters()
	}
	q.Requests = h.later.Waiting()
	return q
}

func (x *boxes) list() []*box {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := make([]*box, 0, len(x.all))
	for _, b := range x.all {
		all = append(all, b)
	}
	return all
}

func (b *box) letters() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lane)
}
