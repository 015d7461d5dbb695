package backup

import (
	"context"
	"errors"
	"io"

	"cairn/chunk"
)

// readStep is how much is read before the cutter looks. After a cut the rest of the step, 128 KiB on
// average, is copied into the next buffer: 8 % of the bytes at memcpy speed.
const readStep = 256 << 10

// firstBuffer is the capacity a chunk's buffer starts with: it fits min + mean, 1.5 MiB with the defaults.
// One chunk in five is longer and moves to twice the size.
func firstBuffer(p chunk.Params) int { return min(p.Min+1<<p.Bits, p.Max) }

// cutAll cuts what src gives until EOF and submits the chunks. broken is a read error; the total bytes that came
// before it were submitted. err ends the backup.
func (r *run) cutAll(ctx context.Context, cutter *chunk.Cutter, src io.Reader, to *content) (total uint64, broken, err error) {
	cutter.Reset()
	first := firstBuffer(r.o.Params)
	buf, err := r.buffers.get(ctx, first)
	if err != nil {
		return 0, nil, err
	}
	filled := 0
	defer func() {
		if buf != nil {
			r.buffers.put(buf)
		}
	}()
	for {
		if filled == len(buf.data) {
			if buf, err = r.enlarge(ctx, buf); err != nil {
				return total, nil, err
			}
		}
		n, readErr := src.Read(buf.data[filled:min(filled+readStep, len(buf.data))])
		r.o.Progress.BytesRead.Add(int64(n))
		r.o.Progress.Bytes.Add(int64(n))
		total += uint64(n)
		seen := filled
		filled += n
		for seen < filled {
			at := cutter.Next(buf.data[seen:filled])
			if at < 0 {
				break
			}
			cut := seen + at
			if cut <= 0 || cut > filled {
				return total, nil, errors.New("the cutter returned a place outside its data")
			}
			next, err := r.buffers.get(ctx, max(first, filled-cut))
			if err != nil {
				return total, nil, err
			}
			filled = copy(next.data, buf.data[cut:filled])
			full := buf
			buf, seen = next, 0
			if err := r.submit(ctx, full, cut, to); err != nil {
				return total, nil, err
			}
		}
		if readErr != nil {
			if filled > 0 {
				last := buf
				buf = nil
				if err := r.submit(ctx, last, filled, to); err != nil {
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

// enlarge moves a full buffer into one of twice the size. A chunk is at most Params.Max long.
func (r *run) enlarge(ctx context.Context, buf *buffer) (*buffer, error) {
	if buf.class == maxClass {
		return buf, errors.New("the cutter makes chunks that no blob can hold")
	}
	big, err := r.buffers.get(ctx, 2*len(buf.data))
	if err != nil {
		return buf, err
	}
	copy(big.data, buf.data)
	r.buffers.put(buf)
	return big, nil
}
