package main

import (
	"context"

	"cairn/agent/source"
	"cairn/agent/source/fedora"
	"cairn/agent/source/paper"
	sourcerun "cairn/agent/source/run"
)

// takeFedora lets a repository back itself up for a run.
func takeFedora(ctx context.Context, name string, p *source.Part, damaged bool) (*sourcerun.Staged, error) {
	s, err := fedora.Backup(ctx, p.Fedora, fedora.Options{Name: name, Damaged: damaged})
	if err != nil {
		return nil, err
	}
	staged := &sourcerun.Staged{Parts: s.Parts(p.Name, paper.StreamPath(p.Name, "")), Warnings: s.Warnings, Close: s.Close}
	if s.Report != nil && s.Report.Damaged() {
		staged.Failed = "what the repository wrote is damaged"
		if len(s.Report.Problems) > 0 {
			staged.Failed += ": " + s.Report.Problems[0].String()
		}
	}
	return staged, nil
}
