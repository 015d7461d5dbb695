package main

import (
	"context"
	"path/filepath"

	"cairn/agent/source"
	"cairn/agent/source/fedora"
	"cairn/agent/source/paper"
	sourcerun "cairn/agent/source/run"
)

// takeFedora lets a repository back itself up for a run.
func (e *env) takeFedora(ctx context.Context, name string, p *source.Part, damaged bool) (*sourcerun.Staged, error) {
	o := fedora.Options{Name: name, Damaged: damaged}
	if dir, err := e.cacheDir(); err == nil {
		o.Memo = filepath.Join(dir, "fedora", name)
	}
	s, err := fedora.Backup(ctx, p.Fedora, o)
	if err != nil {
		return nil, err
	}
	return &sourcerun.Staged{Parts: s.Parts(p.Name, paper.StreamPath(p.Name, "")), Warnings: s.Warnings, Failed: s.Failed, Close: s.Close}, nil
}
