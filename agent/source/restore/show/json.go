package show

import "cairn/agent/source/restore"

// JSON is the plan as one value for programs.
func JSON(p *restore.Plan) map[string]any {
	origins := []map[string]any{}
	for _, o := range p.Origins {
		s := o.Snapshot
		origins = append(origins, map[string]any{"snapshot": s.ID.String(), "time": s.Start.Time().Format("2006-01-02T15:04:05Z07:00"), "host": s.Host, "role": s.Role,
			"component": s.Component, "class": o.Class, "partial": s.Partial})
	}
	guards := []map[string]any{}
	for i := range p.Guards {
		guards = append(guards, map[string]any{"guard": guardText(&p.Guards[i].Guard), "holds": p.Guards[i].Why == "", "why": p.Guards[i].Why})
	}
	wipes := []map[string]any{}
	for _, w := range p.Wipes {
		m := map[string]any{"path": w.Path, "empty": w.Empty, "exists": w.Found.Exists, "files": w.Found.Files, "bytes": w.Found.Bytes}
		if w.Err != nil {
			m["refused"] = w.Err.Error()
		}
		wipes = append(wipes, m)
	}
	trees := []map[string]any{}
	for _, t := range p.Trees {
		m := map[string]any{"part": t.Part.Name, "from": t.From, "to": t.To, "files": t.Files, "bytes": t.Bytes, "unread": t.Lost}
		if r := t.Compared; r != nil {
			m["created"], m["updated"], m["touched"], m["deleted"], m["unchanged"] = r.Created, r.Updated, r.MetaOnly, r.Deleted, r.Identical
		}
		trees = append(trees, m)
	}
	streams := []map[string]any{}
	for i := range p.Streams {
		s := &p.Streams[i]
		streams = append(streams, map[string]any{"part": s.Part.Name, "file": s.File, "from": s.From, "way": s.Way, "target": s.Target(), "bytes": s.Bytes, "replace": s.Replace})
	}
	left := []map[string]any{}
	for _, l := range p.LeftOut {
		left = append(left, map[string]any{"name": l.Name, "class": l.Class, "why": l.Why})
	}
	rewrites := []map[string]any{}
	for _, w := range p.Rewrites {
		m := map[string]any{"path": w.Path, "places": w.Places, "diff": w.Diff}
		if w.Err != nil {
			m["error"] = w.Err.Error()
		}
		rewrites = append(rewrites, m)
	}
	steps := []map[string]any{}
	for _, s := range p.Steps {
		steps = append(steps, map[string]any{"name": s.Name, "text": s.Text, "runs": restore.HookText(&s.Hook)})
	}
	refusals := []map[string]any{}
	for _, r := range p.Refusals() {
		refusals = append(refusals, map[string]any{"text": r.Text, "override": r.Override, "overridden": r.Forced})
	}
	return map[string]any{"type": "plan", "source": p.Source, "to": p.Options.To, "from": origins, "notes": p.Notes, "guards": guards, "before": hookLines(p.Before), "wipes": wipes,
		"files": trees, "databases": streams, "left_out": left, "left_out_more": p.More, "rewrites": rewrites, "rewrite": p.Options.Rewrite, "steps": steps, "runbook": p.Runbook, "foreign": p.Foreign(), "refusals": refusals}
}
