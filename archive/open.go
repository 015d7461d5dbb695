package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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
	// Patience is how long Open waits for a member when others are enough; 0: DefaultPatience.
	Patience time.Duration
	// Salvage makes too few members the damage of the blobs that need them: reads go on and give what the others hold.
	Salvage bool
}

// Archive is an open archive. It is safe for concurrent use.
type Archive struct {
	id         seal.ArchiveID
	geom       pack.Geometry
	found      []foundMember // what was named, whether it could be used or not
	card       *Card         // one that stands for all: the layouts
	ids        []string      // of the members of all layouts
	all        *stripe.Set   // of those members, in the same order: mirrored objects are read and removed here
	placements []Placement   // the current one first
	masks      []memberMask  // of the placements
	set        *stripe.Set   // of the current layout: a.placements[0].Set; mirrored objects are written here
	keys       *seal.Keys    // nil when opened without a credential
	slot       seal.SlotID
	opts       Options
	dir        string

	indexMu        sync.Mutex
	index          Index
	synced         syncState
	sessions       sessionCache
	tiles          tileCache
	shelves        sync.Pool // of *shelf, for Fetch
	healed         healCache
	epochs         epochCache
	repairs        repairs
	listings       listings
	gc             gcState
	references     refState
	condemnedPacks condemnedCache
	emptied        atomic.Uint64 // how often the local index was emptied: what it knew of packs that are gone is lost with that
	whole          sync.Mutex    // of ReadDirectory: one pack that has to be read whole at a time
}

// Open reads the members' cards and, when credentials are given, opens the keys. It fails with ErrNoArchive when no
// member has a card, with seal.ErrWrongKey when no credential fits, with ErrReplaced when this machine knows the archive with another root
// key, and with an error that names the members when they belong to different archives, or two are the same one, and the archive
// cannot do without those in doubt. Missing members are not an error here (see Missing). Neither is a damaged card, or one
// that says what is not so, as long as there are enough good ones: that member is left out with a notice (see BadCards),
// because nothing proves any more which one it is.
func Open(ctx context.Context, members []Member, o Options) (*Archive, error) {
	a, err := open(ctx, members, o)
	if err != nil || len(o.Credentials) == 0 {
		return a, err
	}
	keys, slot, err := a.openKeys(ctx, o.Credentials)
	if err != nil {
		return a.openUnused(ctx, o.Credentials, err)
	}
	a.slot = slot
	return a, a.trust(ctx, keys)
}

// openUnused tries the slots of members that are left out because of what the others' cards say: a card that nobody with a key
// made may say so, and hide the slots. It counts only if that shows: the member is used once the cards' MACs were checked.
// Otherwise a key that was removed would open the archive with a member that was replaced before.
func (a *Archive) openUnused(ctx context.Context, creds []seal.Credential, because error) (*Archive, error) {
	for i := range a.found {
		f := &a.found[i]
		if f.card != nil || f.read == nil || f.read.Archive != a.id.String() {
			continue
		}
		keys, slot, err := seal.OpenSlots(a.slotsOf(ctx, f.Store), creds)
		if err != nil || f.read.verify(keys) != nil {
			continue
		}
		if a.slot = slot.ID; a.trust(ctx, keys) != nil || f.card == nil {
			break
		}
		return a, nil
	}
	return nil, because
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
	if err := a.trust(ctx, keys); err != nil {
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
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	found, err := readCards(ctx, members, o.Patience)
	if err != nil {
		return nil, err
	}
	var a *Archive
	a, err = assemble(ctx, found, nil, o.known, stripeOptions(o, &a))
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
	a.openRepairs()
	a.tellMembers()
	return a, nil
}

// stripeOptions lets the members tell what happens to them. The archive that they tell is there before any request is made.
func stripeOptions(o Options, a **Archive) stripe.Options {
	return stripe.Options{
		Event: func(e stripe.Event) { o.Notice(e.String()) },
		Bad:   func(name string, shard int, _ error) { (*a).suspectNamed(name, shard) },
	}
}

// trust checks what the cards say with the keys, and takes the keys over. Members whose card has a wrong MAC are left out,
// and what the others say is put together anew; if that is all of them, the layout is not to be trusted. So is who is who where
// several claim to be one member: without keys, shards can be made up that are signed by nobody.
func (a *Archive) trust(ctx context.Context, keys *seal.Keys) error {
	var errs []error
	good, claimed := 0, false
	for i := range a.found {
		f := &a.found[i]
		claimed = claimed || f.claimed
		if f.read == nil || f.read.Archive != a.id.String() {
			continue
		}
		if err := f.read.verify(keys); err != nil {
			f.read, f.card, f.bad = nil, nil, err
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
	if len(errs) > 0 || claimed {
		for i := range a.found { // what disagreed with a forged card may be right
			if f := &a.found[i]; f.read != nil {
				f.bad = nil
			}
		}
		b, err := assemble(ctx, a.found, keys, a.opts.known, stripeOptions(a.opts, &a))
		if err != nil {
			return err
		}
		a.geom, a.card, a.ids, a.all, a.set, a.placements, a.masks = b.geom, b.card, b.ids, b.all, b.set, b.placements, b.masks
		a.tellMembers()
	}
	a.keys = keys
	return nil
}

// CardDamage is a member whose card cannot be used.
type CardDamage struct {
	Member string
	Err    error
}

// BadCards lists the members that are left out because their card is damaged, unknown to this version, was
// changed, or is another member's or archive's.
func (a *Archive) BadCards() []CardDamage {
	var bad []CardDamage
	for _, f := range a.found {
		if f.bad != nil {
			bad = append(bad, CardDamage{f.URL, f.bad})
		}
	}
	return bad
}

// tellMembers notices once of each member that it is not used, or missed something.
func (a *Archive) tellMembers() {
	for i := range a.found {
		f := &a.found[i]
		text := ""
		switch {
		case f.bad != nil:
			text = fmt.Sprintf("is left out: %v; %s", f.bad, cmp.Or(remote.Hint(f.bad), "put its cairn.json back from a copy, or let `cairn repair` renew it"))
		case f.replaced:
			text = "is left out: another member has taken its place in the archive"
		case f.hung:
			text = fmt.Sprintf("is left out of this run: %v", f.Err)
		case f.card != nil && f.card.Revision < a.card.Revision:
			text = "missed a change of the archive's layout: it is used, and `cairn repair` renews its card"
		}
		if text != "" && !f.told {
			f.told = true
			a.opts.Notice(fmt.Sprintf("member %s %s", f.URL, text))
		}
	}
}

// ID is the archive's identity.
func (a *Archive) ID() seal.ArchiveID { return a.id }

// Dir is the local cache directory of the archive; "" when there is none.
func (a *Archive) Dir() string { return a.dir }

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
	return a.card.params(poly)
}

// Close closes the local index and ends what goes on in the background. The members need no closing.
func (a *Archive) Close() error {
	_ = a.all.Close() // ends probes of members that do not answer; it never fails
	a.indexMu.Lock()
	defer a.indexMu.Unlock()
	if a.index == nil {
		return nil
	}
	err := a.index.Close()
	a.index = nil
	return err
}
