package remote

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Mode says who can take a lock away before its time.
type Mode string

// The modes, as S3 has them.
const (
	Governance Mode = "governance" // whoever has a permission of its own for it
	Compliance Mode = "compliance" // nobody, the owner of the account included
)

// ParseMode reads a mode.
func ParseMode(text string) (Mode, error) {
	if m := Mode(text); m == Governance || m == Compliance {
		return m, nil
	}
	return "", fmt.Errorf("%.40q is no mode of retention: governance or compliance", text)
}

// Retention is a lock on an object: it can be neither deleted nor replaced before Until. The zero value is no lock.
type Retention struct {
	Until time.Time
	Mode  Mode
}

// Retainer is the optional ability to lock objects against deletion for a time (object lock, WORM). Find it with As. A lock holds for
// what was stored: if the store keeps versions, what is put under the same name later covers it and cannot destroy it.
type Retainer interface {
	// PutRetained is Put of an object that is locked from the moment it is there. It returns an error that wraps
	// errors.ErrUnsupported, and stores nothing, when the store locks nothing.
	PutRetained(ctx context.Context, name string, data []byte, r Retention) error

	// Retain locks an object that is there, or makes its lock longer. It returns an error when the lock would become shorter or weaker. A
	// missing object is ErrNotExist.
	Retain(ctx context.Context, name string, r Retention) error

	// Retention returns the lock of an object, which may have passed; zero when it has none. A missing object is ErrNotExist.
	Retention(ctx context.Context, name string) (Retention, error)
}

// Hider is the optional ability to hide an object that cannot be deleted because of its lock: it is not listed and not read any more, and
// stays among the versions. Find it with As.
type Hider interface {
	Hide(ctx context.Context, name string) error
}

// Answer is what is known of something that a store may be able to do.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota // it was not to be found out, often because the keys may not ask
	Yes
	No
)

// Protection is how a store is set up against deletion.
type Protection struct {
	Versions Answer // what is replaced or deleted is kept, as a version
	Locks    Answer // objects can be locked
	// Default is the lock that the store gives by itself to objects that are put without one; zero: none, or not known.
	Default time.Duration
	Mode    Mode // of Default
	// Doubts says in sentences why an answer is not known, or what the store does not implement.
	Doubts []string
}

// Protector is the optional ability to tell how objects are protected. Find it with As.
type Protector interface {
	// Protection asks the store. It fails only if the store does not answer.
	Protection(ctx context.Context) (Protection, error)
}

// Policy says how long what is stored stays locked.
type Policy struct {
	Period time.Duration
	Mode   Mode
	Exempt func(name string) bool // what is not locked; nil: nothing is exempt
	Now    func() time.Time       // nil: time.Now
}

// until is the lock of an object that is put now.
func (p Policy) until() Retention {
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	return Retention{Until: now().Add(p.Period), Mode: p.Mode}
}

// Retaining returns s with a policy: what is put through it is locked (PutRetained), but for what the policy exempts. Nothing is stored unlocked
// because the store cannot lock: then Put fails. A policy without a period gives s itself.
func Retaining(s Store, p Policy) Store {
	if p.Period <= 0 || s == nil {
		return s
	}
	return &retaining{s, p}
}

type retaining struct {
	Store
	policy Policy
}

// Unwrap returns the Store inside, for As.
func (s *retaining) Unwrap() Store { return s.Store }

func (s *retaining) Put(ctx context.Context, name string, data []byte) error {
	if s.policy.Exempt != nil && s.policy.Exempt(name) {
		return s.Store.Put(ctx, name, data)
	}
	r, ok := As[Retainer](s.Store)
	if !ok {
		return cannotRetain("put", name)
	}
	return r.PutRetained(ctx, name, data, s.policy.until())
}

// PutNew locks what is new as well: after it is there, because no store does both at once.
func (s *retaining) PutNew(ctx context.Context, name string, data []byte) error {
	p, ok := As[NewPutter](s.Store)
	if !ok {
		return Permanent(fmt.Errorf("create %s: %w", name, errors.ErrUnsupported))
	}
	exempt := s.policy.Exempt != nil && s.policy.Exempt(name)
	r, ok := As[Retainer](s.Store)
	if !ok && !exempt {
		return cannotRetain("create", name)
	}
	if err := p.PutNew(ctx, name, data); err != nil || exempt {
		return err
	}
	return r.Retain(ctx, name, s.policy.until())
}

func cannotRetain(op, name string) error {
	return WithHint(Permanent(fmt.Errorf("%s %s: this kind of store cannot lock objects: %w", op, name, errors.ErrUnsupported)),
		"this archive keeps all it stores under retention: use S3 buckets with object lock as its members")
}
