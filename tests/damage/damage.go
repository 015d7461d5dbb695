// Package damage hurts archives for tests, the way disks, providers and people do: bits flip, objects are cut off, lost,
// emptied, or silently replaced by another object or by an older state of themselves. It says exactly what it did, so that a
// test can compare that with what a check finds, and with what a repair heals.
package damage

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"cairn/pack"
	"cairn/remote"
)

// Injury is one object on one member that is not what it was.
type Injury struct {
	Member int
	Object string
	What   string
}

func (i Injury) String() string {
	return fmt.Sprintf("%s on member %d: %s", i.Object, i.Member, i.What)
}

// Place says which object is meant, on which member.
func (i Injury) Place() string { return fmt.Sprintf("%d %s", i.Member, i.Object) }

// State is all that the members hold: member → name → bytes.
type State []map[string][]byte

// Read returns what the members hold.
func Read(ctx context.Context, members []remote.Store) (State, error) {
	state := make(State, len(members))
	for i, m := range members {
		state[i] = map[string][]byte{}
		for info, err := range m.List(ctx, "") {
			if err != nil {
				return nil, err
			}
			data, err := m.Get(ctx, info.Name, 0, -1, nil)
			if err != nil {
				return nil, err
			}
			state[i][info.Name] = data
		}
	}
	return state, nil
}

// Differences names the objects in which two states differ.
func (s State) Differences(other State) []string {
	var list []string
	for i := range s {
		names := maps.Clone(s[i])
		maps.Copy(names, other[i])
		for name := range names {
			a, hasA := s[i][name]
			b, hasB := other[i][name]
			if hasA != hasB || !bytes.Equal(a, b) {
				list = append(list, Injury{Member: i, Object: name}.Place())
			}
		}
	}
	slices.Sort(list)
	return list
}

// names lists all objects below the prefixes, each once.
func (s State) names(prefixes []string) []string {
	all := map[string]bool{}
	for _, objects := range s {
		for name := range objects {
			for _, p := range prefixes {
				if strings.HasPrefix(name, p) {
					all[name] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Hurt damages every object below the prefixes on at least one and at most `most` members, each in a way drawn at random. The
// members hold s.
func (s State) Hurt(ctx context.Context, r *rand.Rand, members []remote.Store, most int, prefixes ...string) ([]Injury, error) {
	var done []Injury
	for _, name := range s.names(prefixes) {
		for _, i := range r.Perm(len(members))[:1+r.IntN(most)] {
			what, data := change(r, s, i, name)
			if what == "" {
				continue
			}
			var err error
			if data == nil {
				err = members[i].Delete(ctx, name)
			} else {
				err = members[i].Put(ctx, name, data)
			}
			if err != nil {
				return done, err
			}
			done = append(done, Injury{i, name, what})
		}
	}
	return done, nil
}

// change draws a way to hurt an object, and returns what then stands in its place; nil: nothing.
func change(r *rand.Rand, s State, member int, name string) (what string, data []byte) {
	whole := s[member][name]
	if len(whole) == 0 {
		return "", nil
	}
	switch r.IntN(8) {
	case 0:
		return "lost", nil
	case 1:
		n := r.IntN(len(whole))
		return fmt.Sprintf("cut off at %d of %d", n, len(whole)), append([]byte{}, whole[:n]...)
	case 2:
		return "longer", append(bytes.Clone(whole), byte(r.IntN(256)))
	case 3:
		if other := s.another(r, member, name); other != "" {
			return "replaced by " + other, bytes.Clone(s[member][other])
		}
	case 4:
		from := r.IntN(len(s))
		if other := s[from][name]; other != nil && !bytes.Equal(other, whole) {
			return fmt.Sprintf("replaced by what member %d has", from), bytes.Clone(other)
		}
	case 5: // a write that did not reach the disk: zeros from some page on
		at := r.IntN(len(whole)) &^ 511
		data := bytes.Clone(whole)
		clear(data[at:])
		if !bytes.Equal(data, whole) {
			return fmt.Sprintf("zeros from %d", at), data
		}
	}
	return flip(r, name, whole)
}

// flip changes one bit, in each region of a shard alike: header, its reserved bytes, payload, checksums, copy.
func flip(r *rand.Rand, name string, whole []byte) (string, []byte) {
	regions := [][2]int{{0, len(whole)}}
	if _, _, ok := pack.ParseName(name); ok && len(whole) > 2*pack.HeaderSize {
		end := len(whole) - pack.HeaderSize
		regions = [][2]int{{0, 2816}, {2952, 4064}, {pack.HeaderSize, end - 4}, {end - 4, end}, {end, len(whole)}}
	}
	region := regions[r.IntN(len(regions))]
	at := region[0] + r.IntN(region[1]-region[0])
	data := bytes.Clone(whole)
	data[at] ^= 1 << r.IntN(8)
	return fmt.Sprintf("bit at %d of %d", at, len(whole)), data
}

// another returns the name of another object of the same folder that the member holds.
func (s State) another(r *rand.Rand, member int, name string) string {
	folder, _, _ := strings.Cut(name, "/")
	var others []string
	for _, other := range slices.Sorted(maps.Keys(s[member])) {
		if other != name && strings.HasPrefix(other, folder+"/") && !bytes.Equal(s[member][other], s[member][name]) {
			others = append(others, other)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return others[r.IntN(len(others))]
}
