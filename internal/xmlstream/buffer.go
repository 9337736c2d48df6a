package xmlstream

import "sync"

// Sizes of read buffers. A connection that waits for the peer's next stanza holds the smallest one or, when its source
// can wait without, none.
const (
	waitSize  = 512
	readSize  = 4 << 10
	growth    = 4
	largeSize = 64 << 10 // larger ones are not kept for others
)

var bufferPools = [...]struct {
	size int
	pool sync.Pool
}{{size: waitSize}, {size: readSize}, {size: readSize * growth}, {size: largeSize}}

type buffer struct{ bytes []byte }

// getBuffer gives a buffer of size bytes or some more.
func getBuffer(size int) *buffer {
	for i := range bufferPools {
		if bp := &bufferPools[i]; size <= bp.size && bp.size <= max(readSize, size+size/4) {
			if b, ok := bp.pool.Get().(*buffer); ok {
				return b
			}
			return &buffer{make([]byte, bp.size)}
		}
	}
	return &buffer{make([]byte, size)}
}

func putBuffer(b *buffer) {
	for i := range bufferPools {
		if bp := &bufferPools[i]; len(b.bytes) == bp.size {
			bp.pool.Put(b)
		}
	}
}

var workPool = sync.Pool{New: func() any { return new(work) }}

// keepNodes is the number of nodes or attributes of an element above which its work is not kept for others.
const keepNodes = 1024

func putWork(w *work) {
	if max(cap(w.nodes), cap(w.attrs), cap(w.uris)) > keepNodes {
		return
	}
	w.reset()
	workPool.Put(w)
}
