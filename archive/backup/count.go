package backup

import (
	"context"

	"cairn/snapshot"
)

// Count walks what Run would walk, with one goroutine and without opening files, and sets Progress.CountedFiles and
// CountedBytes, so that a first backup can say how long it will take. Trouble is left to Run to report.
func Count(ctx context.Context, o Options) error {
	shown := o.Progress
	o.Progress, o.Warn = nil, nil
	o, err := o.applyDefaults()
	if err != nil {
		return err
	}
	paths, err := absolutePaths(o.Paths)
	if err != nil {
		return err
	}
	r, err := newRun(nil, o)
	if err != nil {
		return err
	}
	defer r.handles.closeAll()
	p, roots := makePlan(paths, func(string, error) {})
	r.rules = o.Excludes.Bind(roots)
	h, st, err := r.handles.enter(nil, "/", !p.root)
	if err != nil {
		return err
	}
	d := &dir{path: "/", h: h, scope: scope{plan: p, whole: p.root, dev: st.dev}}
	if err := r.count(ctx, d); err != nil {
		return err
	}
	if shown != nil {
		shown.CountedFiles.Store(r.o.Progress.FoundFiles.Load())
		shown.CountedBytes.Store(r.o.Progress.FoundBytes.Load())
	}
	return nil
}

// count adds up an opened directory and what is below it. It recurses: a path of 4096 elements takes 1 MiB of stack.
func (r *run) count(ctx context.Context, d *dir) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_ = r.readEntries(d) // what cannot be listed does not count
	r.handles.rest(d.h)
	defer r.handles.drop(d.h)
	for i := range d.entries {
		if d.entries[i].st.kind != snapshot.Dir {
			continue
		}
		sub, follow, bare := r.below(job{d, i})
		if bare || sub.depth > snapshot.MaxPathDepth {
			continue
		}
		h, _, err := r.handles.enter(d.h, d.entries[i].name, follow)
		if err != nil {
			continue
		}
		sub.h = h
		if err := r.count(ctx, sub); err != nil {
			return err
		}
	}
	return nil
}
