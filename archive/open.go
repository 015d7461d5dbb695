package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/stripe"
)

// ErrNoArchive means that none of the named members holds an archive.
var ErrNoArchive = errors.New("no archive there")

// Member is one store that was named as a member, in any order. Store is nil when Err says why it could not
// be opened; the archive then does without it as long as it can.
type Member struct {
	URL   string
	Store remote.Store
	Err   error
}

// Options say how to open an archive. The zero value opens it for reading snapshots' names only.
type Options struct {
	// Credentials are tried on the key slots. Without any, only operations that need no key work.
	Credentials []seal.Credential
	// OpenIndex opens the local index on first use; most commands that only look at snapshots never need it.
	OpenIndex func(seal.ArchiveID) (Index, error)
	// IndexLost tells the errors of an index after which it is to be opened anew and filled again. May be nil.
	IndexLost func(error) bool
	// Dir returns the local cache directory of this archive for journals and the like; "" for none.
	Dir func(seal.ArchiveID) string
	// Notice is told, in a sentence, what the operator should know but need not act upon. May be nil; it may be called
	// from several goroutines at once.
	Notice func(string)
	// Salvage makes too few members the damage of the blobs that need them: reads go on and give what the others hold.
	Salvage bool
}

// Archive is an open archive. It is safe for concurrent use.
type Archive struct {
	id         seal.ArchiveID
	geom       pack.Geometry
	found      []foundMember // what was named, whether it could be used or not
	cards      []*Card       // by member number; nil when that member is missing
	set        *stripe.Set   // of the current layout: a.placements[0].Set
	placements []Placement   // the current one first
	keys       *seal.Keys    // nil when opened without a credential
	slot       seal.SlotID
	opts       Options
	dir        string

	indexMu  sync.Mutex
	index    Index
	synced   syncState
	sessions sessionCache
	windows  windowCache
	healed   healCache
	whole    sync.Mutex // of ReadDirectory: one pack that has to be read whole at a time
}

// Open reads the members' cards and, when credentials are given, opens the keys. It fails with ErrNoArchive when no
// member has a card, with seal.ErrWrongKey when no credential fits, with ErrReplaced when this machine knows the archive with another root
// key, and with an error that names the member when one belongs to another archive or is named twice. Missing members
// are not an error here (see Missing). Neither is a damaged card as long as there is a good one: that member is left out
// with a notice (see BadCards), because nothing proves any more which one it is.
func Open(ctx context.Context, members []Member, o Options) (*Archive, error) {
	a, err := open(ctx, members, o)
	if err != nil || len(o.Credentials) == 0 {
		return a, err
	}
	slots, err := a.Slots(ctx)
	if err != nil {
		return nil, err
	}
	keys, slot, err := seal.OpenSlots(slots, o.Credentials)
	if err != nil {
		return nil, err
	}
	a.slot = slot.ID
	return a, a.trust(keys)
}

// OpenWithKeys is Open with keys that are already at hand, for recovery when no slot can be opened.
func OpenWithKeys(ctx context.Context, members []Member, keys *seal.Keys, o Options) (*Archive, error) {
	a, err := open(ctx, members, o)
	if err != nil {
		return nil, err
	}
	if keys.Archive() != a.id {
		return nil, fmt.Errorf("the recovery text belongs to archive %.8s, this is archive %.8s", keys.Archive(), a.id)
	}
	if err := a.trust(keys); err != nil {
		if errors.Is(err, ErrReplaced) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", seal.ErrWrongKey, err)
	}
	return a, nil
}

// open opens an archive without keys.
func open(ctx context.Context, members []Member, o Options) (*Archive, error) {
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	a, err := assemble(readCards(ctx, expand(ctx, members)))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	a.opts = o
	if o.Dir != nil {
		a.dir = o.Dir(a.id)
	}
	a.tellBadCards()
	return a, nil
}

// trust checks what the cards say with the keys, and takes the keys over. Members whose card has a wrong MAC are left out;
// if that is all of them, the layout is not to be trusted.
func (a *Archive) trust(keys *seal.Keys) error {
	var errs []error
	good := 0
	for i := range a.found {
		f := &a.found[i]
		if f.card == nil {
			continue
		}
		if err := f.card.verify(keys); err != nil {
			f.card, f.bad = nil, err
			errs = append(errs, fmt.Errorf("member %s: %w", f.URL, err))
			continue
		}
		good++
	}
	if good == 0 {
		return remote.WithHint(errors.Join(errs...), "restore that member's cairn.json from a copy")
	}
	if err := a.checkRoot(keys); err != nil {
		return err
	}
	if len(errs) > 0 {
		b, err := assemble(a.found)
		if err != nil {
			return err
		}
		a.set, a.placements, a.cards = b.set, b.placements, b.cards
		a.tellBadCards()
	}
	a.keys = keys
	return nil
}

// CardDamage is a member whose card cannot be used.
type CardDamage struct {
	Member string
	Err    error
}

// BadCards lists the members that are left out because their card is damaged, unknown to this version, or was changed.
func (a *Archive) BadCards() []CardDamage {
	var bad []CardDamage
	for _, f := range a.found {
		if f.bad != nil {
			bad = append(bad, CardDamage{f.URL, f.bad})
		}
	}
	return bad
}

// tellBadCards notices each bad card once.
func (a *Archive) tellBadCards() {
	for i := range a.found {
		if f := &a.found[i]; f.bad != nil && !f.told {
			f.told = true
			a.opts.Notice(fmt.Sprintf("member %s is left out: %v; put its cairn.json back from a copy", f.URL, f.bad))
		}
	}
}

// ID is the archive's identity.
func (a *Archive) ID() seal.ArchiveID { return a.id }

// Geometry is the number of data and parity shards of new packs.
func (a *Archive) Geometry() pack.Geometry { return a.geom }

// Set gives access to the members.
func (a *Archive) Set() *stripe.Set { return a.set }

// Keys are the open keys, or nil.
func (a *Archive) Keys() *seal.Keys { return a.keys }

// Slot is the id of the key slot that opened the archive.
func (a *Archive) Slot() seal.SlotID { return a.slot }

// Missing names the members that are not there.
func (a *Archive) Missing() []string { return a.set.Degraded() }

// Chunker returns the chunking parameters of the archive; without keys their polynomial is missing.
func (a *Archive) Chunker() chunk.Params {
	var poly uint64
	if a.keys != nil {
		poly = a.keys.Poly()
	}
	for _, c := range a.cards {
		if c != nil {
			return c.params(poly)
		}
	}
	return chunk.Params{} // not reached: assemble needs a card
}

// Close closes the local index. The members need no closing.
func (a *Archive) Close() error {
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if a.index == nil {
		return nil
	}
	err := a.index.Close()
	a.index = nil
	return err
}
