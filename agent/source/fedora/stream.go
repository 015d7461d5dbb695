package fedora

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
)

// open begins to read a file. Compressed documents are inflated: what comes out of gzip at the end of each line differs from there to the end
// of the file as soon as one document did, so nothing behind it would deduplicate.
func (s *Staged) open(f file) func(context.Context) (io.Reader, func() error, error) {
	return func(ctx context.Context) (io.Reader, func() error, error) {
		in, err := s.staging.self.Open(f.name)
		if err != nil {
			return nil, nil, fmt.Errorf("read the backup: %w", err)
		}
		src := io.Reader(&bounded{ctx, in})
		if f.gunzip {
			z, err := gzip.NewReader(bufio.NewReaderSize(src, 256<<10))
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("inflate %s: %w", f.name, err), in.Close())
			}
			src = z // checks length and checksum at the end
		}
		return src, in.Close, nil
	}
}

// bounded ends with ctx.
type bounded struct {
	ctx context.Context
	src io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.src.Read(p)
}
