package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/remote"
)

// A writing session shows itself to collectors by the object sessions/<id> on every member, from when its first pack is stored: they leave
// its packs alone, which no snapshot needs yet. That is politeness only. A session that is taken for dead loses what it
// stored, finds that out when it commits, and stores it anew.
//
// On its own machine it leaves a note in the folder `unfinished` of the cache directory, held with flock while it lives: what of it is on the
// members that nobody will want when the next backup of the series is done, its session object and the snapshots that it did not get
// to mark. Without the note they stay until somebody forgets them.
const (
	sessionPrefix = "sessions/"
	beatEvery     = 5 * time.Minute
	noteDir       = "unfinished"
	maxNote       = 1 << 20
)

// sessionNote is the content of a note.
type sessionNote struct {
	Session   string   `json:"session"`
	Series    string   `json:"series"` // "" for what is no backup
	Snapshots []string `json:"snapshots,omitempty"`
}

// presence is what a Writer shows of itself; w.mu guards it.
type presence struct {
	series string
	beat   time.Time // of the last heartbeat
	note   *os.File  // locked
	mine   []chunk.ID
}

// ForSeries tells before the first Save to which series the session's snapshot will belong.
func (w *Writer) ForSeries(series string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.series = series
}

// show puts the session object when it is due. That it cannot is not worth stopping for.
func (w *Writer) show(ctx context.Context) {
	w.mu.Lock()
	due := time.Since(w.shown.beat) > beatEvery
	first := w.shown.beat.IsZero()
	if due {
		w.shown.beat = time.Now()
	}
	series := w.shown.series
	w.mu.Unlock()
	if !due {
		return
	}
	if first {
		w.note(series)
	}
	text := fmt.Sprintf("{\"cairn\":1,\"session\":%q,\"since\":%q}\n", w.session.ID(), time.Now().UTC().Format(time.RFC3339))
	_, _ = w.a.set.PutAll(ctx, sessionPrefix+w.session.ID().String(), []byte(text)) // see above
}

// note adds snapshots to the session's note, which it makes.
func (w *Writer) note(series string, ids ...chunk.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.mine = append(w.shown.mine, ids...)
	if w.a.dir == "" {
		return
	}
	if w.shown.series == "" {
		w.shown.series = series
	}
	if w.shown.note == nil {
		f, err := makeNote(filepath.Join(w.a.dir, noteDir), w.session.ID().String())
		if err != nil {
			return // it is a convenience
		}
		w.shown.note = f
	}
	n := sessionNote{Session: w.session.ID().String(), Series: w.shown.series}
	for _, id := range w.shown.mine {
		n.Snapshots = append(n.Snapshots, id.String())
	}
	data, err := json.Marshal(n)
	if err == nil && w.shown.note.Truncate(0) == nil {
		_, _ = w.shown.note.WriteAt(data, 0)
	}
}

// makeNote makes an empty note that is locked when it gets its name.
func makeNote(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return f, nil
}

// closeNote lets go of the note: whoever finds it then knows that the session is over.
func (w *Writer) closeNote(remove bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown.note == nil {
		return
	}
	if remove {
		_ = os.Remove(filepath.Join(w.a.dir, noteDir, w.session.ID().String()))
	}
	w.shown.note.Close()
	w.shown.note = nil
}

// finished removes what this session, and dead ones of the series on this machine, left that nobody will want: but for keep, the snapshots
// that were published and not marked, and the session objects. A credential that may not delete leaves them where they are.
func (w *Writer) finished(ctx context.Context, series string, keep chunk.ID) {
	w.mu.Lock()
	mine := slices.DeleteFunc(slices.Clone(w.shown.mine), func(id chunk.ID) bool { return id == keep })
	shown := !w.shown.beat.IsZero()
	w.mu.Unlock()
	done := w.a.dropUnmarked(ctx, mine)
	if shown {
		done = settled(w.a.all.Delete(ctx, sessionPrefix+w.session.ID().String())) && done
	}
	w.closeNote(done)
	w.a.buryDead(ctx, series)
}

// dropUnmarked removes snapshots that have no mark on any member.
func (a *Archive) dropUnmarked(ctx context.Context, ids []chunk.ID) bool {
	for _, id := range ids {
		name := snapshotPrefix + id.String()
		if _, err := a.all.Stat(ctx, name+markSuffix); err == nil {
			continue // it came to that after all
		} else if !errors.Is(err, remote.ErrNotExist) {
			return false
		}
		if !settled(a.all.Delete(ctx, name)) {
			return false
		}
	}
	return true
}

// settled says whether there is nothing left to do about a deletion: it was done, or is refused, and would be refused each time. Otherwise a client
// that may not delete would try all that it ever left at the end of each of its backups.
func settled(err error) bool { return err == nil || remote.Refused(err) }

// buryDead removes what dead sessions of a series, and dead collectors, left.
func (a *Archive) buryDead(ctx context.Context, series string) {
	a.eachDead(func(n sessionNote) bool {
		if n.Series != series && n.Series != "" {
			return false
		}
		var ids []chunk.ID
		for _, text := range n.Snapshots {
			if id, err := chunk.ParseID(text); err == nil {
				ids = append(ids, id)
			}
		}
		return a.dropUnmarked(ctx, ids) && settled(a.all.Delete(ctx, sessionPrefix+n.Session))
	})
}

// eachDead calls fn with the notes of dead sessions on this machine, and removes those for which it says so.
func (a *Archive) eachDead(fn func(sessionNote) (remove bool)) {
	if a.dir == "" {
		return
	}
	dir := filepath.Join(a.dir, noteDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if info, err := e.Info(); err != nil || info.Size() > maxNote {
			continue
		}
		if _, err := seal.ParseSessionID(e.Name()); err != nil {
			continue
		}
		f := takeJournal(name) // the same rule: whoever gets the lock knows that its owner is dead
		if f == nil {
			continue
		}
		var n sessionNote
		if data, err := os.ReadFile(name); err == nil && json.Unmarshal(data, &n) == nil && n.Session == e.Name() && fn(n) {
			_ = os.Remove(name)
		}
		f.Close()
	}
}

// SessionsAtWork returns the sessions that show themselves and whose last heartbeat is younger than age, compared with that of the given session
// by the clock of the member where both are, and as dead the others. Sessions of collectors that died on this machine are not at work. It
// is an error if a member cannot be listed. No decision that data depends on may rest on this.
func (a *Archive) SessionsAtWork(ctx context.Context, own seal.SessionID, age time.Duration) (atWork map[seal.SessionID]bool, dead []seal.SessionID, err error) {
	type heartbeat struct {
		session seal.SessionID
		at      time.Time
	}
	beats := make([][]heartbeat, len(a.ids))
	now := make([]time.Time, len(a.ids))
	errs, listErr := a.all.ListEach(ctx, sessionPrefix, func(member int, info remote.Info) error {
		id, err := seal.ParseSessionID(strings.TrimPrefix(info.Name, sessionPrefix))
		switch {
		case err != nil: // not ours
		case id == own:
			now[member] = info.Modified
		default:
			beats[member] = append(beats[member], heartbeat{id, info.Modified})
		}
		return nil
	})
	for i, m := range a.all.Members() {
		if m.Store == nil && i >= a.geom.N() {
			errs[i] = nil // see recordOnAll
		}
	}
	if err = errors.Join(append(errs, listErr)...); err != nil {
		return nil, nil, fmt.Errorf("list sessions: %w", err)
	}
	atWork = map[seal.SessionID]bool{}
	shown := map[seal.SessionID]bool{}
	for i, list := range beats {
		for _, b := range list {
			shown[b.session] = true
			if now[i].IsZero() || now[i].Sub(b.at) < age {
				atWork[b.session] = true
			}
		}
	}
	a.eachDead(func(n sessionNote) bool {
		if id, err := seal.ParseSessionID(n.Session); err == nil && n.Series == "" {
			delete(atWork, id)
		}
		return false
	})
	for id := range shown {
		if !atWork[id] {
			dead = append(dead, id)
		}
	}
	return atWork, dead, nil
}

// RemoveSession removes the object by which a dead session shows itself. If it only slept, it puts another one.
func (a *Archive) RemoveSession(ctx context.Context, id seal.SessionID) error {
	return a.all.Delete(ctx, sessionPrefix+id.String())
}
