package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrMayName keeps index packs from being given up.
var ErrMayName = errors.New("directories of packs cannot be read either, and nothing else may tell what is in those")

// giveUp condemns index packs that cannot be read, when all that they could name is named by others. The members were listed after the index
// packs, and a pack is on its members before an index pack names it: so what an unreadable one names was listed, its directories were read and are
// published by now, or it is condemned or gone. A snapshot with a mark needs nothing of a condemned pack: what it needs was copied, and named, before its
// collector condemned that, or was stored anew before the mark was written. Somebody who has read the index pack before it rotted
// loses no name: the new ones were there first, as when a collector replaces one.
//
// Condemned, and not just deleted: an object lock may hold it, and some member may be away. Nobody reads it from then on, and the next prune deletes it.
func (r *rebuild) giveUp(ctx context.Context) error {
	unread := r.report.Unread
	if len(unread) == 0 {
		return nil
	}
	fleeting := slices.IndexFunc(unread, func(s UnreadSegment) bool { return Fleeting(s.Err) })
	switch {
	case len(r.report.Damaged) > 0 && !r.o.GiveUp:
		r.report.WhyUnread = ErrMayName
	case fleeting >= 0:
		r.report.WhyUnread = unread[fleeting].Err
	case !r.a.keys.CanRead():
		r.report.WhyUnread = r.a.needReadKey()
	}
	if r.report.WhyUnread != nil {
		return nil
	}
	r.report.GivenUp, r.report.Unread = unread, nil
	if r.o.DryRun {
		return nil
	}
	record := &Record{Time: time.Now(), Program: r.o.Program}
	for _, s := range unread {
		record.Packs = append(record.Packs, s.ID)
	}
	if err := r.a.PublishRecord(ctx, record, false); err != nil {
		return fmt.Errorf("give up index segments: %w", err)
	}
	return r.a.Refresh(ctx)
}
