package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"cairn/remote"
)

// ability is what is known about something that not every server can.
type ability int32

const (
	unknown ability = iota
	able
	unable
)

// PutNew stores an object if there is none, by a condition (If-None-Match) that not every server knows. Some take no notice of it, so the
// first call tries it out with an object of its own.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	can, err := s.canPutNew(ctx)
	if err != nil {
		return err
	}
	if !can {
		return remote.Permanent(fmt.Errorf("create %s in %s: the server cannot: %w", name, s.place, errors.ErrUnsupported))
	}
	return s.putNewOnce(ctx, name, data)
}

// putNewOnce tries again while the server says that somebody else is at it.
func (s *Store) putNewOnce(ctx context.Context, name string, data []byte) error {
	var err error
	for try := range 6 {
		if err = s.wait(ctx, try); err != nil {
			return err
		}
		err = s.put(ctx, opPutNew, name, data)
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusConflict {
			return err
		}
	}
	return err
}

// newProbe is the object that everybody tries PutNew with. It has one name, so that one that could not be removed is found by the next
// probe, and serves it.
const newProbe = "probe-new"

// removeTime is how long it is tried to remove that object: some retries, but not for a server that hangs.
const removeTime = 5 * time.Second

func (s *Store) canPutNew(ctx context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putNew != unknown {
		return s.putNew == able, nil
	}
	can, err := s.probePutNew(ctx, newProbe)
	if err == nil && !can { // somebody else's probe may have removed the object in between; nobody removes this one
		can, err = s.probePutNew(ctx, newProbe+"-"+randomHex())
	}
	if err != nil {
		return false, err
	}
	s.putNew = unable
	if can {
		s.putNew = able
	}
	return can, nil
}

// probePutNew stores an object twice. That the server says once that it is there is proof, whoever made it. Each request may be
// made again: if one that seemed to fail had stored the object, the next finds it.
func (s *Store) probePutNew(ctx context.Context, probe string) (bool, error) {
	put := func() error { return s.again(ctx, func() error { return s.putNewOnce(ctx, probe, nil) }) }
	err := put()
	if err == nil {
		err = put()
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		// What could not be removed does no harm, and is no reason to fail.
		sub, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
		defer cancel()
		_ = s.again(sub, func() error { return s.Delete(sub, probe) })
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return true, nil
	case err == nil || errors.Is(err, errors.ErrUnsupported):
		return false, nil
	}
	return false, err
}
