package proof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"cairn/agent/source"
	"cairn/agent/source/paper"
	"cairn/agent/verify"
)

// Format is what became of the verification of one format.
type Format struct {
	Path   string         `json:"path"` // in the snapshot
	Report *verify.Report `json:"report"`
}

// Formats verifies the formats that a source file lists, inside the snapshot. Dumps that a format compares with are found below the streams
// of the same snapshot. o.Found hears each problem of them, if it is set; what concerns a format as a whole is returned.
func Formats(ctx context.Context, fsys fs.FS, f *source.File, run *paper.Run, o verify.Options) ([]Format, []Problem, error) {
	var list []Format
	var problems []Problem
	for _, v := range f.Verify {
		switch _, err := fs.Stat(fsys, Rel(v.Path)); {
		case errors.Is(err, fs.ErrNotExist):
			if run.Class == "" { // what a class of its own leaves out is in the snapshots of the others
				problems = append(problems, Problem{Path: v.Path, Kind: KindPath, Severity: verify.Error, Message: "is to be verified as " + v.Format + ", and is not in the snapshot"})
			}
			continue
		case err != nil:
			return list, problems, fmt.Errorf("look for %s: %w", v.Path, err)
		}
		r, err := verify.Verify(ctx, fsys, Rel(v.Path), v.Format, o)
		switch {
		case ctx.Err() != nil:
			return list, problems, ctx.Err()
		case err != nil:
			problems = append(problems, Problem{Path: v.Path, Kind: KindPath, Severity: verify.Error, Message: fmt.Sprintf("cannot be verified as %s: %v", v.Format, err)})
		default:
			list = append(list, Format{v.Path, r})
		}
	}
	return list, problems, nil
}
