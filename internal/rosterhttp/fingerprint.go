package rosterhttp

import "hash/maphash"

// A Fingerprint stands for a document that was read before, as long as this process runs: two hashes of it, with random seeds
// that nobody outside knows, so that not even a service that tries to finds two documents with one fingerprint. (SHA-256 took
// two thirds of the time that it takes to read a document of which little is new.)
type Fingerprint [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func fingerprint(doc []byte) Fingerprint {
	return Fingerprint{maphash.Bytes(seeds[0], doc), maphash.Bytes(seeds[1], doc)}
}

// recognise takes the document's fingerprint and tells whether it is the one that the caller has a roster of.
func (res *Result) recognise(doc []byte, r Request) bool {
	res.Body = fingerprint(doc)
	res.Same = res.Body == r.Body
	return res.Same
}
