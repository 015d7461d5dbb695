package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cairn/pack"
	"cairn/remote"
)

// foundMember is a member that was named, with what its card says.
type foundMember struct {
	Member
	raw      []byte // the card as it is stored
	read     *Card  // what it says; nil when it says nothing that can be used
	card     *Card  // read, if the member is used
	bad      error  // why there is a card that cannot be used
	replaced bool   // the card is of a member whose place another one has taken
	claimed  bool   // several stores say that they are this member
	hung     bool   // it did not answer in time
	took     time.Duration
	told     bool
}

// SubName is the folder of the i-th member where one store holds several.
func SubName(i int) string { return fmt.Sprintf("m%02d", i) }

// sub is the i-th member below one store.
func sub(m Member, i int) Member {
	return Member{URL: m.URL + "/" + SubName(i), Store: remote.Sub(m.Store, SubName(i))}
}

// DefaultPatience is how long Open waits for members when those that answered are enough: long against a card's read over
// the worst line, short against a backup. While they are not enough, it is ten times as long.
const DefaultPatience = 3 * time.Second

const (
	slowerThanSlowest = 4  // a member is hung when it takes so many times longer than the slowest that answered
	patienceForEnough = 10 // times the patience, while too few answered
)

// readCards reads all cards at once, and those of the members below a store that has none of its own. It waits for every
// member until those that answered can read the archive; the others then have the rest of the patience, or four times
// what the slowest took. Who has not answered by then is a missing member of this run. Its request is cancelled, but not
// waited for: a file system that hangs does not give the goroutine back before it answers.
func readCards(ctx context.Context, members []Member, patience time.Duration) ([]foundMember, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		i     int
		found []foundMember
	}
	answers := make(chan answer, len(members)) // with room for all: nobody who is late waits for a reader
	for i, m := range members {
		go func() { answers <- answer{i, readMember(ctx, m)} }()
	}
	lists := make([][]foundMember, len(members))
	begin := time.Now()
	late := time.NewTimer(patience * patienceForEnough)
	defer late.Stop()
	for pending := len(members); pending > 0; {
		select {
		case a := <-answers:
			lists[a.i] = a.found
			pending--
			if enough(lists) {
				took := time.Since(begin)
				late.Reset(max(patience, slowerThanSlowest*took) - took)
			}
			continue
		case <-late.C:
			if newest(lists) == nil { // nothing can be done without: the drivers' own timeouts decide
				late.Reset(patience)
				continue
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		break
	}
	var all []foundMember
	for i, list := range lists {
		if list == nil {
			err := fmt.Errorf("it did not answer within %v: %w", time.Since(begin).Round(100*time.Millisecond), remote.ErrUnavailable)
			list = []foundMember{{Member: Member{URL: members[i].URL, Err: err}, hung: true}}
		}
		all = append(all, list...)
	}
	return all, nil
}

// newest returns the card with the highest revision of the archive that most of the cards are of, or nil.
func newest(lists [][]foundMember) *Card {
	var best *Card
	cards := map[string]int{}
	for _, f := range slices.Concat(lists...) {
		if f.read != nil {
			cards[f.read.Archive]++
		}
	}
	for _, f := range slices.Concat(lists...) {
		if c := f.read; c != nil && (best == nil || cards[c.Archive] > cards[best.Archive] || c.Archive == best.Archive && c.Revision > best.Revision) {
			best = c
		}
	}
	return best
}

// enough says whether the members that answered can read what has the newest layout.
func enough(lists [][]foundMember) bool {
	best := newest(lists)
	if best == nil {
		return false
	}
	there := map[string]bool{}
	for _, f := range slices.Concat(lists...) {
		if f.read != nil {
			there[f.read.Member] = true
		}
	}
	n := 0
	for _, id := range best.Layout.Members {
		if there[id] {
			n++
		}
	}
	return n >= best.Layout.Data
}

// readMember reads the card of a member: one request. Where a store has none, those of the members below it.
func readMember(ctx context.Context, m Member) []foundMember {
	f := readCard(ctx, m)
	if m.Store != nil && errors.Is(f.Err, remote.ErrNotExist) {
		if subs := readSubs(ctx, m); len(subs) > 0 {
			return subs
		}
	}
	return []foundMember{f}
}

// readSubs reads the cards of the members below one store. One that does not answer is a missing member, if others do; so
// is one without a card, if the others' cards say that there must be more.
func readSubs(ctx context.Context, m Member) []foundMember {
	all := make([]foundMember, pack.MaxShards)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = readCard(ctx, sub(m, i)) })
	}
	wg.Wait()
	n, last := 0, -1
	for i, f := range all {
		if f.read != nil {
			n = max(n, len(f.read.members()))
		}
		if !errors.Is(f.Err, remote.ErrNotExist) {
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	var subs []foundMember
	for i, f := range all[:max(last+1, min(n, len(all)))] {
		none := errors.Is(f.Err, remote.ErrNotExist)
		if f.Err != nil && !none {
			f.Store = nil
		}
		if !none || i < n {
			subs = append(subs, f)
		}
	}
	return subs
}

func readCard(ctx context.Context, m Member) foundMember {
	f := foundMember{Member: m}
	if m.Store == nil {
		return f
	}
	begin := time.Now()
	data, err := remote.ReadAll(ctx, m.Store, cardName, maxCard)
	f.took = time.Since(begin)
	var large *remote.TooLargeError
	switch {
	case errors.As(err, &large):
		f.bad = err
	case err != nil:
		f.Err = err
	default:
		f.raw = data
		f.read, f.bad = parseCard(data)
	}
	return f
}
