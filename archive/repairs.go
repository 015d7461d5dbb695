package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/pack"
)

// The file `repairs` in the archive's cache directory lists shards that are to be looked at: stored with their pack on too few
// members, or found bad by a reader. It makes the next backup heal them; losing it leaves that to `cairn repair`. Each
// record has 40 bytes:
//
//	pack id (32) ‖ kind (1) ‖ shard (1) ‖ reason (1) ‖ 0 (1) ‖ CRC-32C u32 of all before
//
// Several processes use it: whoever writes holds its flock. Records are appended, and the file is written anew when some are
// done with; a crash in the middle of that loses notes. What does not read back is left out.
type repairs struct {
	mu   sync.Mutex
	name string                // "" where there is no cache directory: then they are remembered while this process lives
	have map[Suspect]Suspicion // all that is known to be in the file, or would be
}

const (
	repairRecord = 40
	maxRepairs   = 1 << 16 // 2.6 MB. More is work for `cairn repair`, which looks at everything
)

// Suspect is a shard that may be missing or bad.
type Suspect struct {
	Pack  pack.ID
	Kind  chunk.Type // chunk.Index, or chunk.Data for any pack below binaries/
	Shard int
}

// Suspicion is why a shard is suspected.
type Suspicion uint8

// The reasons. Stored, do not change.
const (
	FoundBad Suspicion = 1 // a reader found it bad, or gone
	NotThere Suspicion = 2 // its member was not reached when the pack was stored
)

func suspect(id pack.ID, kind chunk.Type, shard int) Suspect {
	if kind != chunk.Index {
		kind = chunk.Data // one folder, one name
	}
	return Suspect{id, kind, shard}
}

// Suspect notes a shard that was found bad, or gone from a member that is there, for the next backup or repair to heal. It is
// cheap when the shard was noted before.
func (a *Archive) Suspect(id pack.ID, kind chunk.Type, shard int) {
	a.repairs.add(suspect(id, kind, shard), FoundBad)
}

// Suspects returns the shards to be looked at, with the reasons, those of other processes on this machine included.
func (a *Archive) Suspects() map[Suspect]Suspicion { return a.repairs.list() }

// Repaired takes a shard off the list: it was read and is good.
func (a *Archive) Repaired(id pack.ID, kind chunk.Type, shard int) {
	a.repairs.drop([]Suspect{suspect(id, kind, shard)})
}

func (r *repairs) add(s Suspect, why Suspicion) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	if _, ok := r.have[s]; ok || len(r.have) >= maxRepairs || s.Shard < 0 || s.Shard >= pack.MaxShards {
		return
	}
	r.have[s] = why
	if r.name == "" {
		return
	}
	// An error is not worth telling a reader of: it costs what a lost file costs.
	_ = r.locked(os.O_CREATE, func(f *os.File, size int64) error {
		if size >= maxRepairs*repairRecord {
			return nil
		}
		// A torn record would shift all that follow.
		if err := f.Truncate(size - size%repairRecord); err != nil {
			return err
		}
		_, err := f.Write(appendSuspect(nil, s, why))
		return err
	})
}

// list reads the file again: others may have added to it, or repaired.
func (r *repairs) list() map[Suspect]Suspicion {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.name != "" {
		if f, err := os.Open(r.name); err == nil {
			defer f.Close()
			r.have = readSuspects(f)
		}
	}
	r.load()
	return maps.Clone(r.have)
}

// load reads the file if that was not done.
func (r *repairs) load() {
	if r.have != nil {
		return
	}
	r.have = map[Suspect]Suspicion{}
	if r.name == "" {
		return
	}
	if f, err := os.Open(r.name); err == nil {
		defer f.Close()
		r.have = readSuspects(f)
	}
}

// drop removes records from the file.
func (r *repairs) drop(done []Suspect) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.load()
	noted := false
	for _, s := range done {
		_, ok := r.have[s]
		noted = noted || ok
		delete(r.have, s)
	}
	if !noted || r.name == "" {
		return
	}
	_ = r.locked(0, func(f *os.File, size int64) error { // see add
		left := readSuspects(io.NewSectionReader(f, 0, size))
		for _, s := range done {
			delete(left, s)
		}
		var records []byte
		for s, why := range left {
			records = appendSuspect(records, s, why)
		}
		if err := f.Truncate(0); err != nil {
			return err
		}
		_, err := f.Write(records)
		return err
	})
}

// Waiting for the file's lock: it is held for a write of at most 2.6 MB.
const (
	repairsTries = 20
	repairsPause = 5 * time.Millisecond
)

var errRepairsLocked = errors.New("another process holds the list of repairs")

// locked runs fn with the file open for appending, while no other process writes to it.
func (r *repairs) locked(flag int, fn func(f *os.File, size int64) error) error {
	if flag&os.O_CREATE != 0 {
		if err := os.MkdirAll(filepath.Dir(r.name), 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(r.name, flag|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for try := 0; unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; try++ {
		if try == repairsTries {
			return errRepairsLocked
		}
		time.Sleep(repairsPause)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return fn(f, info.Size())
}

func appendSuspect(dst []byte, s Suspect, why Suspicion) []byte {
	at := len(dst)
	dst = append(dst, s.Pack[:]...)
	dst = append(dst, byte(s.Kind), byte(s.Shard), byte(why), 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

// readSuspects reads all records that are whole, at most maxRepairs.
func readSuspects(src io.Reader) map[Suspect]Suspicion {
	out := map[Suspect]Suspicion{}
	var b [repairRecord]byte
	for range maxRepairs {
		if _, err := io.ReadFull(src, b[:]); err != nil {
			break
		}
		sum := repairRecord - crc32.Size
		if crc32.Checksum(b[:sum], castagnoli) != binary.LittleEndian.Uint32(b[sum:]) {
			continue
		}
		s := Suspect{Pack: pack.ID(b[:32]), Kind: chunk.Type(b[32]), Shard: int(b[33])}
		if why := Suspicion(b[34]); s == suspect(s.Pack, s.Kind, s.Shard) && s.Shard < pack.MaxShards && (why == FoundBad || why == NotThere) {
			out[s] = why
		}
	}
	return out
}

// openRepairs names the file of an archive.
func (a *Archive) openRepairs() {
	if a.dir != "" {
		a.repairs.name = filepath.Join(a.dir, "repairs")
	}
}

func (s Suspect) String() string {
	return fmt.Sprintf("shard %d of pack %s", s.Shard, s.Pack.Short())
}

// maxWhole bounds the snapshots that are remembered as whole.
const maxWhole = 4096

func (a *Archive) wholeFile() string { return filepath.Join(a.dir, "whole") }

// knownWhole says whether all packs of a snapshot that was degraded were found whole on this machine. The file `whole` in the
// cache directory lists them, one id in hex a line.
func (a *Archive) knownWhole(id chunk.ID) bool {
	if a.dir == "" {
		return false
	}
	data, err := os.ReadFile(a.wholeFile())
	return err == nil && bytes.Contains(data, []byte(id.String()+"\n"))
}

// noteWhole remembers that. Like all of the cache directory it may be lost, which costs asking again.
func (a *Archive) noteWhole(id chunk.ID) {
	if a.dir == "" {
		return
	}
	line := id.String() + "\n"
	old, err := os.ReadFile(a.wholeFile())
	if err != nil || len(old) >= maxWhole*len(line) {
		old = nil
	}
	_ = writeCache(a.wholeFile(), append(old, line...)) // see above
}
