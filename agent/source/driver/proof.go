package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cairn/agent/process"
	"cairn/agent/source/dump"
)

// proof lets a stream pass and keeps its end, to see whether the dump is complete.
type proof struct {
	r    io.Reader
	size int64
	end  []byte
}

func (p *proof) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.size += int64(n)
	p.end = append(p.end, b[max(0, n-dump.TailSize):n]...)
	if over := len(p.end) - dump.TailSize; over > 0 {
		p.end = append(p.end[:0], p.end[over:]...)
	}
	return n, err
}

// check says whether the stream ends as it has to. Programs that wrote nothing, or lost what they wrote, have been seen to exit with 0.
func (p *proof) check(mark string) error {
	switch {
	case p.size == 0:
		return errors.New("nothing came: the dump is empty")
	case !dump.Complete(p.end, mark):
		return fmt.Errorf("the dump does not end with %q: it is not complete", strings.TrimSpace(mark))
	}
	return nil
}

// dump makes the Open of a stream out of a program whose output ends with mark.
func (c *client) dump(make func() (process.Command, error), mark string) func(context.Context) (io.Reader, func() error, error) {
	return func(ctx context.Context) (io.Reader, func() error, error) {
		cmd, err := make()
		if err != nil {
			return nil, nil, err
		}
		p, err := process.Start(ctx, cmd)
		if err != nil {
			return nil, nil, err
		}
		r := &proof{r: p}
		return r, func() error {
			if err := p.Wait(); err != nil {
				return c.explain(err)
			}
			return r.check(mark)
		}, nil
	}
}
