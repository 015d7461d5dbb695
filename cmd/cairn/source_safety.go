package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"cairn/agent/source/restore"
	"cairn/agent/source/restore/perform"
	sourcerun "cairn/agent/source/run"
	"cairn/archive"
	"cairn/archive/backup"
)

// safetyNet makes snapshots of what is there before a restore, in the series HOST/NAME/safety.
type safetyNet struct {
	*env
	c *cli.Context
	a *archive.Archive
}

// Save backs up what the plan would change.
func (s *safetyNet) Save(ctx context.Context, p *restore.Plan) (string, error) {
	f, err := perform.Present(p)
	if err != nil || f == nil {
		return "", err
	}
	j, err := sourcerun.Plan(f, sourcerun.Choice{Machine: hostname()})
	if err != nil {
		return "", err
	}
	j.Series += "/" + safetyTag
	state, err := s.runState()
	if err != nil {
		return "", err
	}
	r, err := sourcerun.Run(ctx, j, sourcerun.Options{
		State: state, Open: s.open, Fedora: s.takeFedora, Program: programName(), Stderr: s.stderr, Say: s.say, Now: s.now,
	})
	switch {
	case err != nil:
		return "", err
	case r.Outcome == sourcerun.Skipped:
		return "", errors.New(r.Why)
	case !r.Stored():
		return "", errors.New("no snapshot was made")
	}
	return r.Backup.ID.Short(), nil
}

// open writes to the archive that is read from.
func (s *safetyNet) open(ctx context.Context, j *sourcerun.Job) (*sourcerun.Target, error) {
	w, err := s.a.NewWriter(ctx)
	if err != nil {
		return nil, err
	}
	w.ForSeries(j.Series)
	return &sourcerun.Target{Saver: w, Options: backup.Options{
		Params: s.a.Chunker(), MemoryLimit: frugal(s.a), Series: j.Series, Tags: []string{safetyTag}, User: username(), Program: programName(),
		Progress: new(backup.Progress), Warn: func(path string, err error) { s.warn("%s: %v", printable(path), err) },
	}}, nil
}
