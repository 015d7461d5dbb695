package archive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

const (
	// openPacks is how many data packs are filled at once: a blob goes to a random column of a random one, so that
	// stored lengths do not tell chunk lengths apart.
	openPacks = 2
	// maxUploads bounds the packs on their way. Who finds no room waits for one of these before another pack is begun, so
	// there are never more than openPacks data packs, a tree pack and maxUploads packs in memory, however many goroutines
	// save: (3·k + 2·(k+m))·T for a column of T bytes (pack.Writer), which is 80 MiB for 1+0 (45 in a directory), 192 MiB for 2+1 and 4+2. A chunk
	// larger than T makes one of the open packs up to twice as long, and those on their way that held one.
	// Each Save holds its sealed blob besides (sealedAtOnce).
	maxUploads = 2
	// A segment is published after so many blobs or so much time: what an interrupted first backup can lose when its
	// journal is lost too. 65,536 entries are 2.7 MB of segment and about 6 MB of pending set.
	publishBlobs = 1 << 16
	publishEvery = 2 * time.Minute
)

// uploadBytes is how much may be on its way when all packs are long: where two would be more, packs go one by one. With 10+4 one
// long pack has 112 MiB.
const uploadBytes = 192 << 20

// nearTarget is the column length where requests cost nothing (remote.Near) and a pack is one column: two such packs that are filled and two on their
// way are 36 MiB instead of 64. It has room for any chunk.
const nearTarget = 9 << 20

// uploadsAt returns how many packs may be on their way at once.
func uploadsAt(g pack.Geometry) int {
	return max(1, min(maxUploads, uploadBytes/(g.N()*2*g.DefaultTarget())))
}

// sealedAtOnce bounds the plaintext of the blobs that are sealed at a time: twice the mean for each core, which leaves none idle, and at least the longest
// chunk. Of those, 8 MiB, several may come together, and 24 MiB of memory were in use for each. A short one counts as much as lets one more than there are cores
// be sealed at a time: each has a compressor.
func sealedAtOnce(p chunk.Params) int64 {
	return max(int64(p.Max), int64(chunk.Cores())*2*int64(p.Min+1<<p.Bits))
}

// target is the length aimed at for the columns of a new pack.
func (a *Archive) target() int {
	if a.geom.K == 1 && a.near() {
		return nearTarget
	}
	return a.geom.DefaultTarget()
}

type blobKey struct {
	t  chunk.Type
	id chunk.ID
}

// Writer is one writing session. Save and Known may be called concurrently; Flush, Commit and Suspend only when no Save is
// running. Commit ends the session when it succeeds; in every other case Suspend must: packs are stored in the background.
//
// An error of Save or of an upload ends the writing: every later Save and Commit fails with the first such error.
// So nothing is ever reported as done while a blob that somebody was told is "on its way" did not arrive.
type Writer struct {
	a       *Archive
	session *seal.Session
	journal *journal
	limits  limits

	life   context.Context // of the uploads: it outlives the context of the Save that began one
	cancel context.CancelFunc

	mu         sync.Mutex
	open       map[chunk.Type][]*pack.Writer
	pending    map[blobKey]struct{}   // blobs of this session that no published segment names yet
	ready      []pack.Column          // of packs that are stored but in no segment yet
	blobs      int                    // in ready
	failed     error                  // the first failure; errEnded at the end
	short      map[pack.ID]struct{}   // packs stored with fewer than n shards
	relies     map[pack.ID]chunk.Type // packs that this session made, or that hold what it did not store because it was there
	named      map[pack.ID][]pack.ID  // index packs that this session published, and the packs that they name
	lastPub    time.Time
	shown      presence
	generation int    // of the gc records, when the index was read
	emptied    uint64 // see Archive.emptied, when it began
	takesOver  bool   // see TakeOver
	stats      WriterStats

	sealing    *semaphore.Weighted // plaintext of the blobs that are being sealed, which take three times that
	most       int64               // of it
	publishing sync.Mutex
	uploads    chan struct{} // holds a token for each upload under way
}

// limits are the constants above; tests take smaller ones.
type limits struct {
	target       int // column length
	publishBlobs int
	publishEvery time.Duration
}

// errEnded is what Save and Commit give after Commit or Suspend.
var errEnded = errors.New("the writing session has ended")

// WriterStats counts what a session has put on the members.
type WriterStats struct {
	Packs       int
	BytesStored int64 // of all shards, with headers and directories
}

// NewWriter begins a writing session. It first publishes what an interrupted session left in the journal, so that
// what had reached the archive is found and not uploaded again.
func (a *Archive) NewWriter(ctx context.Context) (*Writer, error) {
	if err := a.Enough(); err != nil { // also when nothing is new: a snapshot that cannot be read is no success
		return nil, err
	}
	if err := a.refreshStale(ctx); err != nil { // what is deduplicated against must be there now
		return nil, err
	}
	w, err := a.newWriter(ctx)
	if err != nil {
		return nil, err
	}
	w.generation = a.syncedGeneration()
	if w.journal, err = newJournal(a.dir, w.session.ID()); err != nil {
		a.opts.Notice(fmt.Sprintf("no journal (%v): if this run is interrupted, up to %s of uploads are repeated", err, publishEvery))
	}
	if err := w.resume(ctx); err != nil {
		w.end()
		return nil, errors.Join(err, w.journal.close(w.journal.empty()))
	}
	return w, nil
}

// SetTarget sets the length aimed at for the columns of packs that are begun from now on, for tests and benchmarks; 0 is the default.
func (w *Writer) SetTarget(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.limits.target = n; n <= 0 {
		w.limits.target = w.a.target()
	}
}

// newWriter makes a session without a journal. Nothing is running in it yet. Records and index were read.
func (a *Archive) newWriter(ctx context.Context) (*Writer, error) {
	if err := a.AllRecords(); err != nil {
		return nil, err
	}
	return a.newSession(ctx)
}

// newSession is newWriter for who relies on nothing.
func (a *Archive) newSession(ctx context.Context) (*Writer, error) {
	session, err := a.keys.NewSession()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		a: a, session: session, lastPub: time.Now(), emptied: a.emptied.Load(),
		limits: limits{target: a.target(), publishBlobs: publishBlobs, publishEvery: publishEvery},
		open:   map[chunk.Type][]*pack.Writer{}, pending: map[blobKey]struct{}{}, short: map[pack.ID]struct{}{}, relies: map[pack.ID]chunk.Type{}, named: map[pack.ID][]pack.ID{},
		uploads: make(chan struct{}, uploadsAt(a.geom)),
	}
	w.most = sealedAtOnce(a.Chunker())
	w.sealing = semaphore.NewWeighted(w.most)
	w.life, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return w, nil
}

// Save stores a blob unless the archive has it. When it returns without an error the blob is stored or on its way;
// Commit waits for it. plain may be used again at once. It blocks while too many packs are on their way.
func (w *Writer) Save(ctx context.Context, t chunk.Type, plain []byte) (Saved, error) {
	if t != chunk.Data && t != chunk.Tree || len(plain) == 0 || len(plain) > chunk.MaxPlain {
		return Saved{}, fmt.Errorf("save %s blob of %d bytes: want data or tree, 1 to %d", t, len(plain), chunk.MaxPlain)
	}
	key := blobKey{t, chunk.Sum(plain)}
	saved := Saved{ID: key.id}
	known, err := w.claim(ctx, key)
	if err == nil && !known {
		saved.New = true
		saved.Stored, err = w.save(ctx, key, plain)
	}
	if err != nil {
		w.fail(err) // whoever saves the same blob was told that it is on its way
		return Saved{ID: key.id}, err
	}
	return saved, nil
}

// save seals a blob that is this caller's to store, and puts it into a pack.
func (w *Writer) save(ctx context.Context, key blobKey, plain []byte) (stored int, err error) {
	weight := min(max(int64(len(plain)), w.most/int64(chunk.Cores()+1)), w.most)
	if err := w.sealing.Acquire(ctx, weight); err != nil {
		return 0, err
	}
	defer w.sealing.Release(weight)
	arena := w.a.keys.Arena()
	buf := arena.Take(seal.MaxSealed(len(plain)))
	defer arena.Put(buf)
	sealed, compression, err := w.session.Seal(buf, key.t, key.id, plain)
	if err != nil {
		return 0, err
	}
	b := seal.Sealed{ID: key.id, Type: key.t, Compression: compression, Plain: uint32(len(plain)), Session: w.session.ID()}
	return len(sealed), w.add(ctx, b, sealed)
}

// claim says whether the blob is known, and if not, makes it this caller's to store. The pending set is asked before the
// index: publish moves blobs from there to here.
func (w *Writer) claim(ctx context.Context, key blobKey) (known bool, err error) {
	w.mu.Lock()
	_, on := w.pending[key]
	if err := w.failed; on || err != nil {
		w.mu.Unlock()
		return on, err
	}
	w.pending[key] = struct{}{}
	w.mu.Unlock()
	var live [1]pack.ID
	if err := w.a.live(ctx, key.t, []chunk.ID{key.id}, live[:]); err != nil || live[0] == (pack.ID{}) {
		return false, err
	}
	w.mu.Lock()
	delete(w.pending, key)
	w.relies[live[0]] = key.t
	w.mu.Unlock()
	return true, nil
}

// Known says whether all these blobs are stored, or on their way in this session. What it says of is relied on: who takes blobs
// over without saving them must ask, because Commit sees to it that they stay.
func (w *Writer) Known(t chunk.Type, ids []chunk.ID) (bool, error) {
	live := make([]pack.ID, len(ids))
	if err := w.a.live(w.life, t, ids, live); err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return false, w.failed
	}
	for i, id := range live {
		if id != (pack.ID{}) {
			w.relies[id] = t
		} else if _, on := w.pending[blobKey{t, ids[i]}]; !on {
			return false, nil
		}
	}
	return true, nil
}

// add puts a sealed blob into an open pack. When none has room, the fullest is stored first.
func (w *Writer) add(ctx context.Context, b seal.Sealed, sealed []byte) error {
	placed, err := w.place(b, sealed)
	for err == nil && !placed {
		// The token comes before the pack: a pack taken out by somebody who then waits would be one more in memory.
		if err := w.acquire(ctx); err != nil {
			return err
		}
		if full := w.takeFull(b.Type, len(sealed)); full != nil {
			go w.upload(full)
		} else {
			w.release() // somebody else made room
		}
		placed, err = w.place(b, sealed)
	}
	return err
}

// place adds the blob to a random open pack with room, if there is one. The lock is held for one copy of the blob, at most
// 8 MiB or about 1 ms.
func (w *Writer) place(b seal.Sealed, sealed []byte) (placed bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return false, w.failed
	}
	want := 1
	if b.Type == chunk.Data {
		want = openPacks
	}
	for len(w.open[b.Type]) < want {
		w.open[b.Type] = append(w.open[b.Type], pack.NewWriter(w.a.keys, w.session, b.Type, w.a.geom, w.limits.target))
	}
	room := withRoom(w.open[b.Type], len(sealed))
	if len(room) == 0 {
		if slices.ContainsFunc(w.open[b.Type], func(p *pack.Writer) bool { return filled(p) == 0 && !p.Fits(len(sealed)) }) {
			return false, fmt.Errorf("%s blob %s of %d bytes fits into no pack", b.Type, b.ID, len(sealed))
		}
		return false, nil
	}
	_, err = room[rand.IntN(len(room))].Add(b, sealed, nil)
	return err == nil, err
}

// withRoom returns the packs that may take n bytes. A blob that is too large for a column of target length makes a pack
// longer, up to twice; one long pack is open at a time, because it takes twice the memory.
func withRoom(packs []*pack.Writer, n int) []*pack.Writer {
	if len(packs) > 0 && n > packs[0].Target() && slices.ContainsFunc(packs, (*pack.Writer).Long) {
		packs = slices.DeleteFunc(slices.Clone(packs), func(p *pack.Writer) bool { return !p.Long() })
	}
	return slices.DeleteFunc(slices.Clone(packs), func(p *pack.Writer) bool { return !p.Fits(n) })
}

// takeFull takes the fullest open pack out, unless there is room for n bytes by now. For a blob that only long packs may take, that
// is a long one.
func (w *Writer) takeFull(t chunk.Type, n int) *pack.Writer {
	w.mu.Lock()
	defer w.mu.Unlock()
	packs := w.open[t]
	if len(withRoom(packs, n)) > 0 {
		return nil
	}
	long := len(packs) > 0 && n > packs[0].Target() && slices.ContainsFunc(packs, (*pack.Writer).Long)
	fullest := -1
	for i, p := range packs {
		if (!long || p.Long()) && (fullest < 0 || filled(p) > filled(packs[fullest])) {
			fullest = i
		}
	}
	if fullest < 0 {
		return nil
	}
	full := packs[fullest]
	w.open[t] = slices.Delete(packs, fullest, fullest+1)
	return full
}

func filled(p *pack.Writer) int64 { _, n := p.Len(); return n }

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
	}
}

func (w *Writer) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// Stats tells what was put on the members so far.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}
