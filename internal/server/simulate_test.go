package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"rollcall/internal/server"
	"rollcall/internal/xmpptest"
)

// TestWorld is a simulation: a whole server in a world of which each seed gives the whole plan. Clients come, go, lose their
// connections and resume, stop reading, and write to each other over a network that delays, splits, holds and cuts; the service
// changes rosters, fails, lies, and notifies late, twice or not at all; the disk fails, and the server is killed. It stands
// beside TestConvergence and shares its town and its devices (what is true, and what clients believe); it adds the network, stream
// management and messages, and nothing in it waits for the server to be done but the end.
//
// After each step what DESIGN calls "what must always hold" is looked at as far as it can be before things calm down; in the
// end all of it. docs/reliability.md says what that is.
//
//	go test ./internal/server -run TestWorld -args -seeds 10000
//	go test ./internal/server -run TestWorld -args -seed 7
//
// A failure prints the seed and the last steps.
func TestWorld(t *testing.T) {
	if *worldSeed != 0 {
		playSeeds(t, *worldSeed, 1)
		return
	}
	playSeeds(t, *worldFirst, *worldSeeds)
}

// TestManyWorlds plays the next 400 seeds.
func TestManyWorlds(t *testing.T) {
	if server.RaceDetector {
		t.Skip("it would take a minute with the race detector")
	}
	if testing.Short() {
		t.Skip("it takes a quarter of a minute")
	}
	playSeeds(t, 101, 400)
}

// playSeeds plays so many seeds.
func playSeeds(t *testing.T, first uint64, n int) {
	counts := map[string]int{}
	failed := 0
	for seed := first; seed < first+uint64(n) && failed < *worldFailures; seed++ {
		r := playSeed(t, seed)
		for what, times := range r.counts {
			counts[what] += times
		}
		if *worldHash {
			fmt.Println(seed, r.hash)
		}
		if r.failure == "" {
			if *worldSeed != 0 {
				t.Log(strings.Join(r.history, "\n"))
			}
			continue
		}
		failed++
		last := r.history[max(0, len(r.history)-*worldLast):]
		t.Errorf("seed %d: %s\nalone: go test ./internal/server -run TestWorld -args -seed %d\nthe last of %d lines of what happened (-last N for more):\n%s",
			seed, r.failure, seed, len(r.history), strings.Join(last, "\n"))
	}
	t.Log(counts)
}

var (
	worldSeeds    = flag.Int("seeds", 100, "how many simulated worlds TestWorld plays")
	worldFirst    = flag.Uint64("first", 1, "the first of them")
	worldSeed     = flag.Uint64("seed", 0, "the one that it plays alone")
	worldLast     = flag.Int("last", 60, "how many lines it prints of one that has failed")
	worldFailures = flag.Int("failures", 1, "how many may fail before it stops")
	worldHash     = flag.Bool("hash", false, "print a hash of what happened in each, to see whether it comes again")
)

// result is what became of a seed.
type result struct {
	failure string // "": nothing was wrong
	history []string
	hash    string
	counts  map[string]int
}

// playSeed plays a seed in a bubble.
func playSeed(t *testing.T, seed uint64) (r result) {
	defer func() {
		if p := recover(); p != nil { // such as a goroutine that has not ended
			panic(fmt.Sprintf("seed %d: %v", seed, p))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := newSim(ctx, makePlan(seed))
		defer func() {
			s.end()
			r = result{s.failure(), s.history, hashOf(s.history), s.counts}
		}()
		s.play()
	})
	return r
}

// plan is what is going to happen in a world.
type plan struct {
	seed     uint64
	sequence // of the town: its kind and who has whom
	moves    []move
	config   []string // of the server
	outbox   int      // limits.outbox_bytes
	resumes  uint64   // bits: who comes back in the end
}

// move is one thing that happens, and how much time passes after it.
type move struct {
	do         moveKind
	a, b, c, d int
	over       xmpptest.Carrier // of a connection that is made
	wait       time.Duration
}

type moveKind uint8

const (
	townStep moveKind = iota // a step of TestConvergence's
	comes
	leaves
	isCut
	isLost
	resumes
	stops // reading
	slows
	says
	chats // many messages
	floods
	asks // something of the server or of another client
	blocks
	reads // the archive
	hides // that somebody looks at it
	shows
	dawdles // with acknowledgements
	babbles
	notifies
	races // of a change with a fetch
	diskFails
	restarts
	crashes
	timeGoes
)

// kinds has each kind of move as often as it is to come among so many.
var kinds = func() (all []moveKind) {
	for k, times := range map[moveKind]int{
		townStep: 38, comes: 22, leaves: 4, isCut: 9, isLost: 3, resumes: 14, stops: 6, slows: 4, says: 34, chats: 4, floods: 2, asks: 14, blocks: 8, reads: 4, hides: 4,
		shows: 12, dawdles: 3, babbles: 1, notifies: 16, races: 5, diskFails: 3, restarts: 1, crashes: 2, timeGoes: 8,
	} {
		all = append(all, slices.Repeat([]moveKind{k}, times)...)
	}
	slices.Sort(all)
	return all
}()

// townSteps are the steps of the town that a world takes: those that need no connection.
var townSteps = slices.DeleteFunc(slices.Clone(weighted), func(a action) bool {
	return slices.Contains([]action{connect, cutOff, hearSome, askRoster, presence, notify, notifyLater, timePasses, diskTurns, restart, crash}, a)
})

// carriers are what connections are made with.
var carriers = []xmpptest.Carrier{xmpptest.TCP, xmpptest.TCP, xmpptest.WebSocket, xmpptest.BOSH}

const movesOfAWorld = 70

// resumable is how long a session may be resumed.
const resumable = time.Minute

func makePlan(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 0x726f6c6c))
	p := plan{seed: seed, resumes: rng.Uint64(), sequence: sequence{
		kind: []kind{asked, asked, asked, askedMutual, batched, told}[rng.IntN(6)],
		Lost: rng.IntN(4) == 3, Merges: rng.IntN(1 << 6), Know: rng.IntN(1 << 9),
	}}
	p.outbox = []int{16 << 10, 64 << 10, 1 << 20}[rng.IntN(3)]
	p.config = []string{
		fmt.Sprintf("limits.resume = '%v'", resumable),
		fmt.Sprintf("limits.outbox_bytes = %d", p.outbox),
		fmt.Sprintf("limits.unacked = %d", []int{30, 500}[rng.IntN(2)]),
	}
	for range movesOfAWorld {
		m := move{do: kinds[rng.IntN(len(kinds))], over: carriers[rng.IntN(len(carriers))], a: rng.IntN(24), b: rng.IntN(24), c: rng.IntN(24), d: rng.IntN(24)}
		ms := func(most int64) time.Duration { return time.Duration(rng.Int64N(most*1e6)) + 1 }
		switch n := rng.IntN(100); {
		case n < 45:
			m.wait = ms(30)
		case n < 80:
			m.wait = ms(1000)
		case n < 94:
			m.wait = ms(5000)
		default:
			m.wait = ms(20_000)
		}
		p.moves = append(p.moves, m)
	}
	return p
}

// noise is what is another each time in what happened.
var noise = regexp.MustCompile(`push-[A-Z0-9]+|-[a-z2-7]{10}['"]| (prev)?id='[A-Za-z0-9_-]{22}'`)

// hashOf hashes what happened. Of what happened at the same moment the order does not count.
func hashOf(history []string) string {
	lines := slices.Clone(history)
	for i, line := range lines {
		lines[i] = noise.ReplaceAllString(line, "")
	}
	slices.Sort(lines) // they begin with their times
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:8])
}
