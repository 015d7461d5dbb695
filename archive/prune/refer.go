package prune

import (
	"context"

	"cairn/chunk"
)

// referBatch is how many blobs are looked up at once. The index sorts them, so that a batch goes through it in one direction. With 200 at a time, those of
// one directory, and less memory than the index is long (790 MB for 10^7 blobs), each lookup waited for the disk, and most of what that read ahead was
// thrown away unused: 15 trees a second. A batch takes 22 MB, and passes over 10^7 blobs 40 times.
const referBatch = 1 << 18

// referral is what a tree refers to, not looked up yet.
type referral struct {
	t    tree
	refs references
}

func (r *referral) len() int { return len(r.refs.trees) + len(r.refs.data) + 2*len(r.refs.either) }

// refer keeps what a tree refers to until there is a batch of it.
func (m *marker) refer(ctx context.Context, t tree, refs references) error {
	r := referral{t, refs}
	m.waiting = append(m.waiting, r)
	if m.batch += r.len(); m.batch < referBatch {
		return nil
	}
	return m.settle(ctx)
}

// settle looks up what is kept, and follows it. What is not known as a whole is looked up once more by itself.
func (m *marker) settle(ctx context.Context) error {
	list, n := m.waiting, m.batch
	m.waiting, m.batch = nil, 0
	treeIDs, dataIDs := make([]chunk.ID, 0, n), make([]chunk.ID, 0, n)
	for i := range list {
		treeIDs = append(append(treeIDs, list[i].refs.trees...), list[i].refs.either...)
		dataIDs = append(append(dataIDs, list[i].refs.data...), list[i].refs.either...)
	}
	trees, err := m.numbers(chunk.Tree, treeIDs)
	if err != nil {
		return err
	}
	data, err := m.numbers(chunk.Data, dataIDs)
	if err != nil {
		return err
	}
	// From the end, because the trees that are taken last are read first.
	for i := len(list) - 1; i >= 0; i-- {
		r := &list[i]
		t, d := len(treeIDs)-len(r.refs.trees)-len(r.refs.either), len(dataIDs)-len(r.refs.data)-len(r.refs.either)
		if m.complete(r.refs, trees[t:], data[d:]) {
			err = m.follow(r.t, trees[t:], treeIDs[t:], data[d:])
		} else {
			err = m.referAlone(ctx, r.t, r.refs)
		}
		if err != nil {
			return err
		}
		treeIDs, dataIDs, trees, data = treeIDs[:t], dataIDs[:d], trees[:t], data[:d]
	}
	return ctx.Err()
}
