package index

import (
	"sync"

	"cairn/pack"
)

// State says what a pack, or one copy of a blob, is good for.
type State uint8

// The states.
const (
	Gone      State = iota // no applied segment names it any more
	Live                   // it is named and not condemned: it may be relied on
	Condemned              // a gc record condemns it, so it may vanish at any moment
)

func (s State) String() string {
	switch s {
	case Live:
		return "live"
	case Condemned:
		return "condemned"
	}
	return "gone"
}

// packState is what the state of a copy depends on.
type packState struct {
	id        pack.ID
	named     uint32 // columns
	condemned bool
}

// of returns the state of a copy in column `column` of the pack. What nobody names is gone, condemned or not.
func (p *packState) of(column uint8) State {
	switch {
	case p.named&(1<<column) == 0:
		return Gone
	case p.condemned:
		return Condemned
	}
	return Live
}

func (p *packRecord) packState() packState {
	return packState{id: p.id, named: p.named(), condemned: p.condemned}
}

// statePage is how many packs are read at a time: 40 KB, some 0.5 ms.
const statePage = 1024

// states holds the state of each pack whose blobs were asked for, and of its neighbours: at most 40 bytes a pack, 40 MB for
// a million (32 TB and more). Opening reads none of it, so a small backup into a large archive reads a few pages.
type states struct {
	d  *db
	mu sync.RWMutex
	// A page is read in a transaction that begins while mu is held, and changed after the commit of what it tells of. So it is
	// never older than the last change that was waited for.
	pages []*[statePage]packState // by pack number / statePage; nil where not read
	away  map[pack.ID]struct{}    // see Vanished
}

// get returns the state of a pack. A pack that is not known is gone: its segment is just being applied.
func (s *states) get(n uint32) (packState, error) {
	s.mu.RLock()
	if i := int(n / statePage); i < len(s.pages) && s.pages[i] != nil {
		p := s.seen(s.pages[i][n%statePage])
		s.mu.RUnlock()
		return p, nil
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	page, err := s.load(n / statePage)
	if err != nil {
		return packState{}, err
	}
	return s.seen(page[n%statePage]), nil
}

// seen leaves out what has vanished. The caller holds mu.
func (s *states) seen(p packState) packState {
	if _, ok := s.away[p.id]; ok {
		p.named = 0
	}
	return p
}

func (s *states) vanish(id pack.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.away = map[pack.ID]struct{}{}
	}
	s.away[id] = struct{}{}
}

// Vanished notes, for as long as the index is open, that a condemned pack cannot be read any more: Lookup finds what else there is. A blob
// may be in several condemned packs, and a client may name its own pack after a collector condemned and deleted it. It does nothing
// with a pack that is not condemned: that may come back.
func (x *Index) Vanished(id pack.ID) error {
	is, err := x.Condemned(id)
	if is {
		x.states.vanish(id)
	}
	return err
}

// load reads a page. The caller holds mu, and is inside of db.use.
func (s *states) load(i uint32) (*[statePage]packState, error) {
	if int(i) < len(s.pages) && s.pages[i] != nil {
		return s.pages[i], nil
	}
	page := new([statePage]packState)
	txn := s.d.b.NewTransaction(false)
	defer txn.Discard()
	known := false
	_, err := walk(txn, []byte{prefixPack}, numberKey(prefixPack, i*statePage), func(key, value []byte) (bool, error) {
		n, err := keyNumber(key)
		if err != nil || n/statePage != i {
			return false, err
		}
		p, err := parsePack(value)
		page[n%statePage], known = p.packState(), true
		return true, err
	})
	if err != nil {
		return nil, err
	}
	// A damaged entry may name any number: no memory for what is not there.
	if known {
		for int(i) >= len(s.pages) {
			s.pages = append(s.pages, nil)
		}
		s.pages[i] = page
	}
	return page, nil
}

// set notes changes that are committed, in pages that are in memory.
func (s *states) set(records map[uint32]*packRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, p := range records {
		if i := int(n / statePage); i < len(s.pages) && s.pages[i] != nil {
			s.pages[i][n%statePage] = p.packState()
		}
	}
}

// clear forgets everything, so that it is read again.
func (s *states) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = nil
}

// drop is clear for an index that is empty again.
func (s *states) drop() {
	s.clear()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = nil
}
