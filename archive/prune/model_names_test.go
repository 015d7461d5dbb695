package prune_test

import (
	"bytes"
	"unsafe"
)

const (
	clientBits    = 1<<packsOfClient - 1
	collectorBits = 1<<packsOfCollector - 1
	ofCollectors  = 2 + packsOfClient*mostClients // the first bit of collectors' packs
)

// swapClients calls each client by the other's name.
func (w world) swapClients() world {
	w.client[0], w.client[1] = w.client[1], w.client[0]
	return w.rename(func(p packs) packs {
		first, second := p>>2&clientBits, p>>(2+packsOfClient)&clientBits
		return p&^(clientBits<<2|clientBits<<(2+packsOfClient)) | first<<(2+packsOfClient) | second<<2
	}, func(s snapshots) snapshots { return s&old | s&1<<1 | s>>1&1 })
}

// swapCollectors calls each collector by the other's name.
func (w world) swapCollectors() world {
	w.collector[0], w.collector[1] = w.collector[1], w.collector[0]
	return w.rename(func(p packs) packs {
		first, second := p>>ofCollectors&collectorBits, p>>(ofCollectors+packsOfCollector)
		return p&(1<<ofCollectors-1) | first<<(ofCollectors+packsOfCollector) | second<<ofCollectors
	}, nil)
}

// rename renames packs, and unless nil, snapshots.
func (w world) rename(p func(packs) packs, s func(snapshots) snapshots) world {
	rename := func(list ...*packs) {
		for _, at := range list {
			*at = p(*at)
		}
	}
	rename(&w.stored)
	for m := range w.named {
		rename(&w.named[m], &w.condemned[m])
	}
	for i := range w.client {
		c := &w.client[i]
		rename(&c.records, &c.index, &c.relied, &c.fresh)
	}
	for j := range w.collector {
		g := &w.collector[j]
		rename(&g.records, &g.index, &g.seen, &g.own, &g.fresh, &g.tried, &g.relied)
	}
	if s == nil {
		return w
	}
	for m := range w.listed {
		w.listed[m], w.marked[m], w.forgotten[m] = s(w.listed[m]), s(w.marked[m]), s(w.forgotten[m])
	}
	for j := range w.collector {
		g := &w.collector[j]
		g.window, g.needs, g.marked, g.known = s(g.window), s(g.needs), s(g.marked), s(g.known)
	}
	w.forgetter.chosen = s(w.forgetter.chosen)
	return w
}

// lesser returns the state whose bytes come first.
func lesser(a, b world) world {
	if bytes.Compare(unsafe.Slice((*byte)(unsafe.Pointer(&a)), unsafe.Sizeof(a)), unsafe.Slice((*byte)(unsafe.Pointer(&b)), unsafe.Sizeof(b))) <= 0 {
		return a
	}
	return b
}
