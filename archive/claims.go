package archive

import (
	"context"
	"fmt"
	"slices"

	"cairn/chunk/seal"
	"cairn/remote"
)

// A card can say what is not so: that its member belongs to another archive, or that it is a member that another store is as well.
// Rot does the first (one bit of the id is enough), a store that was copied over another one does the second, and so may whoever
// holds a store. An archive that can do without the member does without it.

// ours returns the members of the archive that most of them belong to, and leaves the others out. That archive must be able to
// do so: k of its members are there, and no more than m others were named (or one, by mistake, beside an archive without
// parity). Otherwise nothing tells which of the archives is meant, and that is an error. So it is when this machine knows one of
// the others, and not that of most: of 1+2, two thieves are most, and might have made an archive that opens as well. Keys know
// their archive, and leave no doubt.
func ours(found []foundMember, keys *seal.Keys, known func(archive string) bool) ([]*foundMember, error) {
	archives := map[string][]*foundMember{}
	var order []string
	for i := range found {
		if f := &found[i]; f.read != nil {
			if archives[f.read.Archive] == nil {
				order = append(order, f.read.Archive)
			}
			archives[f.read.Archive] = append(archives[f.read.Archive], f)
		}
	}
	if len(order) == 0 {
		return nil, noArchive(found)
	}
	most, second := 0, 0
	id := ""
	for _, o := range order {
		switch n := distinct(archives[o]); {
		case n > most:
			id, most, second = o, n, most
		case n > second:
			second = n
		}
	}
	sure := most > second
	if keys != nil && archives[keys.Archive().String()] != nil {
		id, sure = keys.Archive().String(), true
	}
	list := archives[id]
	if len(order) == 1 {
		return list, nil
	}
	strangers := 0
	for _, o := range order {
		if o != id {
			strangers += len(archives[o])
			sure = sure && (known(id) || !known(o))
		}
	}
	if keys == nil && (!sure || !spares(list, strangers)) {
		one, other := archives[order[1]][0], archives[order[0]][0]
		return nil, remote.WithHint(fmt.Errorf("%s belongs to archive %.8s, but %s belongs to archive %.8s", one.URL, one.read.Archive,
			other.URL, other.read.Archive), "name the members of one archive only")
	}
	for i := range found {
		if f := &found[i]; f.read != nil && f.read.Archive != id {
			f.bad = remote.WithHint(fmt.Errorf("its card is of archive %.8s, the others' are of archive %.8s", f.read.Archive, id),
				"do not name it, if it is no member of this archive; if it is, `cairn repair` renews its card")
		}
	}
	return list, nil
}

// distinct counts the members that stores say they are.
func distinct(list []*foundMember) int {
	ids := map[string]bool{}
	for _, f := range list {
		ids[f.read.Member] = true
	}
	return len(ids)
}

// spares says whether the members of an archive are enough to read it without so many others.
func spares(list []*foundMember, others int) bool {
	ref, _ := newestOf(list)
	there := 0
	for _, id := range ref.read.Layout.Members {
		if slices.ContainsFunc(list, func(f *foundMember) bool { return f.read.Member == id }) {
			there++
		}
	}
	return there >= ref.read.Layout.Data && others <= max(ref.read.Layout.Parity, 1)
}

// newestOf returns the member with the card that stands for all, and how many agree with it: of the highest revision, that of most.
func newestOf(list []*foundMember) (best *foundMember, most int) {
	for _, f := range list {
		n := votes(list, f.read)
		if best == nil || f.read.Revision > best.read.Revision || f.read.Revision == best.read.Revision && n > most {
			best, most = f, n
		}
	}
	return best, most
}

func votes(list []*foundMember, of *Card) (n int) {
	for _, f := range list {
		if f.read.agrees(of) {
			n++
		}
	}
	return n
}

// tellWithin bounds how long stores that claim to be one member are asked for their shards.
const tellWithin = DefaultPatience * patienceForEnough

// settle decides which store is a member that several say they are: the one whose shards are that member's or, if no shard
// tells that, the only one whose shards are not another's. The others are left out. So are all of them when nothing tells
// them apart, if the archive can do without that member; if not, it is an error. Only stores in doubt are asked: a
// listing or two, and identifyBy headers each.
func (a *Archive) settle(ctx context.Context) error {
	claims := map[string][]*foundMember{}
	for i := range a.found {
		f := &a.found[i]
		if f.claimed = false; f.card != nil {
			claims[f.card.Member] = append(claims[f.card.Member], f)
		}
	}
	var doubtful []*foundMember
	for _, id := range a.ids {
		if list := claims[id]; len(list) > 1 {
			doubtful = append(doubtful, list...)
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	is := a.tell(ctx, doubtful)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var open error
	for n, id := range a.ids {
		if list := claims[id]; len(list) > 1 && !decide(list, claimant(list, id, is), n) && open == nil {
			open = remote.WithHint(fmt.Errorf("%s and %s are the same member (number %d) of the archive", list[0].URL, list[1].URL, n),
				"name each member once; a copy of a member cannot stand in for another one")
		}
	}
	if open != nil && a.there() < a.geom.K {
		return open
	}
	return nil
}

// decide leaves out the stores that are not member n, though they say so: all of them when truly is nil, and then it is false.
func decide(list []*foundMember, truly *foundMember, n int) bool {
	for i, f := range list {
		f.claimed = true
		if f == truly {
			continue
		}
		f.card = nil
		if truly != nil {
			f.bad = fmt.Errorf("its card is that of %s", truly.URL)
			continue
		}
		other := list[(i+1)%len(list)]
		f.bad = remote.WithHint(fmt.Errorf("its card says that it is member %d, as that of %s does, and their shards do not tell which of them is", n, other.URL),
			"name each member once, put its cairn.json back from a copy, or let `cairn repair` renew it if its shards are another member's")
	}
	return truly != nil
}

// there counts the members of the current layout that are used.
func (a *Archive) there() (n int) {
	for _, id := range a.card.Layout.Members {
		if a.used(id) != nil {
			n++
		}
	}
	return n
}

// claimant picks the store that is a member, or nil.
func claimant(list []*foundMember, id string, is map[*foundMember]string) *foundMember {
	for _, told := range []string{id, ""} {
		var fit []*foundMember
		for _, f := range list {
			if is[f] == told {
				fit = append(fit, f)
			}
		}
		if len(fit) == 1 {
			return fit[0]
		}
		if len(fit) > 1 {
			return nil
		}
	}
	return nil
}

// tell says which members stores are by their shards; "" where they do not tell. Who does not answer is not waited for.
func (a *Archive) tell(ctx context.Context, stores []*foundMember) map[*foundMember]string {
	ctx, cancel := context.WithTimeout(ctx, tellWithin)
	defer cancel()
	type answer struct {
		f  *foundMember
		id string
	}
	asker := &Archive{id: a.id, card: a.card, keys: a.keys} // of its own: whoever is late may still read it
	answers := make(chan answer, len(stores))
	for _, f := range stores {
		store := f.Store
		go func() {
			id, err := asker.identify(ctx, store)
			if err != nil {
				id = ""
			}
			answers <- answer{f, id}
		}()
	}
	is := map[*foundMember]string{}
	for range stores {
		select {
		case got := <-answers:
			is[got.f] = got.id
		case <-ctx.Done():
			return is
		}
	}
	return is
}
