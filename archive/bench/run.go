package bench

import (
	"cmp"
	"context"
	"io"
	"time"

	"cairn/chunk"
	"cairn/pack"
)

// Options say what is measured. The zero value measures the machine for 10 s, as for an archive of one member.
type Options struct {
	Geometry pack.Geometry // how packs are spread; zero: 1+0
	Members  []Store       // none: the machine only
	// NoMachine leaves the machine out.
	NoMachine bool
	Time      time.Duration // about how long it takes; 0: DefaultTime
	Space     int64         // how much may be written to all members together; 0: DefaultSpace
	Prefix    string        // where objects may be put: ends with "/", and an archive has nothing there
	Sample    io.Reader     // data like what is to be backed up; nil: text
	TempDir   string        // for an index; "": the system's
	Cores     int           // 0: all
	// Each is told of every figure as it comes, a *Stage or a *Member. May be nil.
	Each func(any)
	// Now tells about what step it is that comes. May be nil.
	Now func(string)

	sample, blobs int // for tests, which need not be exact: sampleSize, indexBlobs
}

// The defaults.
const (
	DefaultTime  = 10 * time.Second
	DefaultSpace = 512 << 20
)

func (o Options) applyDefaults() Options {
	if o.Geometry.K == 0 {
		o.Geometry = pack.Geometry{K: 1}
	}
	o.Time = cmp.Or(o.Time, DefaultTime)
	o.Space = cmp.Or(o.Space, DefaultSpace)
	o.Cores = cmp.Or(o.Cores, chunk.Cores())
	o.sample, o.blobs = cmp.Or(o.sample, sampleSize), cmp.Or(o.blobs, indexBlobs)
	if o.Each == nil {
		o.Each = func(any) {}
	}
	if o.Now == nil {
		o.Now = func(string) {}
	}
	return o
}

// Report is what Run measured.
type Report struct {
	Cores    int
	Geometry pack.Geometry
	Ratio    float64  // how many times smaller the sample gets
	Share    float64  // of the processor time that the steps could have had, so much they got; the rest had other programs
	Stages   []*Stage // of the machine, in the order of the work
	Members  []*Member
}

// Run measures. When it returns an error, what was measured before is in the report all the same, and nothing is left on the members that
// could be removed.
func Run(ctx context.Context, o Options) (*Report, error) {
	o = o.applyDefaults()
	r := &Report{Cores: o.Cores, Geometry: o.Geometry}
	if err := o.Geometry.Validate(); err != nil {
		return r, err
	}
	forMachine, forMembers := o.Time, o.Time*2/5
	if len(o.Members) > 0 {
		forMachine -= forMembers
	}
	if o.NoMachine {
		forMembers = o.Time
	} else if err := measureMachine(ctx, o, forMachine, r); err != nil {
		return r, err
	}
	if len(o.Members) == 0 {
		return r, ctx.Err()
	}
	return r, measureMembers(ctx, o, forMembers, r)
}
