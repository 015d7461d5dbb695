package backup

import (
	"context"
	"errors"
	"io"

	"cairn/chunk"
)

// readStep is how much is read before the cutter looks.
const readStep = 256 << 10

// errUncut means that the Cutter does not keep to Params.
var errUncut = errors.New("the cutter makes chunks that no blob can hold")

// cutAll cuts what src gives until EOF and submits the chunks. broken is a read error; the total bytes that came
// before it were submitted. err ends the backup.
func (r *run) cutAll(ctx context.Context, cutter *chunk.Cutter, src io.Reader, to *content) (total uint64, broken, err error) {
	cutter.Reset()
	lane := r.buffers.lane()
	slab, err := lane.slab(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { slab.release() }()
	start, filled := 0, 0 // of the chunk that is not cut yet
	for {
		if filled == len(slab.data) {
			if slab, err = r.turn(ctx, lane, slab, start); err != nil {
				return total, nil, err
			}
			start, filled = 0, filled-start
		}
		n, readErr := src.Read(slab.data[filled:min(filled+readStep, len(slab.data))])
		r.o.Progress.BytesRead.Add(int64(n))
		r.o.Progress.Bytes.Add(int64(n))
		total += uint64(n)
		seen := filled
		filled += n
		for seen < filled {
			at := cutter.Next(slab.data[seen:filled])
			if at < 0 {
				break
			}
			cut := seen + at
			if at == 0 || cut > filled {
				return total, nil, errors.New("the cutter returned a place outside its data")
			}
			if err := r.submit(ctx, slab, slab.data[start:cut], to); err != nil {
				return total, nil, err
			}
			start, seen = cut, cut
		}
		if readErr != nil {
			if filled > start {
				if err := r.submit(ctx, slab, slab.data[start:filled], to); err != nil {
					return total, nil, err
				}
			}
			if readErr == io.EOF {
				readErr = nil
			}
			return total, readErr, nil
		}
	}
}

// turn moves the chunk that is not cut yet, from start to the end of a full slab, to the beginning of another one: 0.7 MiB on average,
// a tenth of what is read. After an error the caller still has the full one.
func (r *run) turn(ctx context.Context, l *lane, full *buffer, start int) (*buffer, error) {
	if start == 0 {
		return full, errUncut
	}
	next, err := l.slab(ctx)
	if err != nil {
		return full, err
	}
	copy(next.data, full.data[start:])
	full.release()
	return next, nil
}
