package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"cairn/archive/bench"
	"cairn/pack"
	"cairn/remote"
)

// benchShow prints what is measured: the steps as they come, the members and the verdict at the end.
type benchShow struct {
	e        *env
	geometry pack.Geometry
	begun    bool
	err      error // of JSON
}

const benchRow = "%-36s %14s %14s\n"

func (b *benchShow) each(v any) {
	s, ok := v.(*bench.Stage)
	if !ok {
		return
	}
	if b.e.json {
		m := map[string]any{"type": "bench_stage", "stage": s.Name, "what": s.What, "unit": s.Unit, "one_core": s.One}
		if s.All > 0 {
			m["all_cores"] = s.All
		}
		b.err = errors.Join(b.err, b.e.printJSON(m))
		return
	}
	if !b.begun {
		b.begun = true
		fmt.Fprintf(b.e.stdout, benchRow, "STEP", "ONE CORE", "ALL CORES")
	}
	all := ""
	if s.All > 0 {
		all = stageRate(s.Unit, s.All)
	}
	fmt.Fprintln(b.e.stdout, strings.TrimRight(fmt.Sprintf(benchRow, s.What, stageRate(s.Unit, s.One), all), " \n"))
}

func stageRate(unit string, rate float64) string {
	switch unit {
	case "blobs":
		return comma(uint64(rate)) + "/s"
	case "times":
		return shortTime(time.Duration(float64(time.Second) / rate))
	}
	return perSecond(rate)
}

func perSecond(rate float64) string {
	if rate <= 0 {
		return "-"
	}
	return humanize.IBytes(uint64(rate)) + "/s"
}

// shortTime rounds a time to what people read.
func shortTime(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// end tells the rest. With an error of the measuring, only what it left behind.
func (b *benchShow) end(r *bench.Report, failed error) error {
	for _, m := range r.Members {
		for _, name := range m.Left {
			b.e.warn("%s: %s could not be removed", m.Label, name)
		}
	}
	if failed != nil {
		return nil
	}
	var err error
	if b.e.json {
		err = errors.Join(b.err, b.json(r))
	} else {
		err = b.text(r)
	}
	measured := 0
	for _, m := range r.Members {
		if m.Err == nil {
			measured++
		}
	}
	if err == nil && len(r.Members) > 0 && measured == 0 {
		return hint(fmt.Errorf("no member could be tried: %w", r.Members[0].Err), remote.Hint(r.Members[0].Err))
	}
	return err
}

func (b *benchShow) text(r *bench.Report) error {
	if len(r.Members) > 0 {
		if b.begun {
			b.e.print("")
		}
		w := tabwriter.NewWriter(b.e.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "PUT 4K\tGET 4K\tLIST\tPUT\tGET\tMEMBER")
		for _, m := range r.Members {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", shortTime(m.Put), shortTime(m.Get), shortTime(m.List), perSecond(m.PutRate), perSecond(m.GetRate), printable(m.Label))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, m := range r.Members {
		switch {
		case m.Err != nil:
			b.e.print("%s could not be tried: %v", printable(m.Label), m.Err)
		case m.Unwritten != "":
			b.e.print("%s was not written to: %s", printable(m.Label), m.Unwritten)
		}
		if m.Note != "" {
			b.e.print("%s: %s", printable(m.Label), m.Note)
		}
	}
	b.verdict(r)
	return nil
}

// verdict says what limits what, in sentences.
func (b *benchShow) verdict(r *bench.Report) {
	works := r.Verdict()
	if len(works) > 0 {
		b.e.print("\n%s%s:", plural(uint64(r.Cores), "core", "cores"), b.layout(r))
	}
	for _, w := range works {
		b.e.print("  %s: about %s, limited by %s", w.What, perSecond(w.Rate()), limitText(w.Limits[0], r))
		if next := other(w.Limits); next != nil {
			b.e.print("    (next: %s, %s)", limitText(*next, r), perSecond(next.Rate))
		}
	}
	if r.Share > 0 && r.Share < busyShare {
		b.e.print("other programs had %.0f %% of the processor meanwhile: on a quiet machine it is faster", 100*(1-r.Share))
	}
}

// busyShare is the share of the processor below which it is said that others had the rest.
const busyShare = 0.75

func (b *benchShow) layout(r *bench.Report) string {
	text := ""
	if r.Ratio > 0 {
		text = fmt.Sprintf(", a sample that becomes %.0f %% of its size", 100/r.Ratio)
	}
	if len(r.Members) > 0 {
		text += fmt.Sprintf(", %d+%d on %s", r.Geometry.K, r.Geometry.M, plural(uint64(len(r.Members)), "member", "members"))
	}
	return text
}

// other returns the next limit of another kind: of six disks that are alike, the second tells nothing.
func other(limits []bench.Limit) *bench.Limit {
	for i := range limits[1:] {
		if next := &limits[i+1]; (next.Member == nil) != (limits[0].Member == nil) {
			return next
		}
	}
	return nil
}

func limitText(l bench.Limit, r *bench.Report) string {
	switch {
	case l.Member != nil:
		return "member " + printable(l.Name)
	case l.Stage != nil:
		return fmt.Sprintf("the processor: %q takes most, %s on %s", l.Stage.What, perSecond(l.Stage.Best()), plural(uint64(r.Cores), "core", "cores"))
	}
	return l.Name
}

func (b *benchShow) json(r *bench.Report) error {
	for _, m := range r.Members {
		v := map[string]any{"type": "bench_member", "address": m.Label, "put_ms": ms(m.Put), "get_ms": ms(m.Get), "list_ms": ms(m.List), "object_bytes": m.Object,
			"put_bytes_per_second": int64(m.PutRate), "get_bytes_per_second": int64(m.GetRate), "left": nonNil(m.Left)}
		for key, text := range map[string]string{"unwritten": m.Unwritten, "note": m.Note} {
			if text != "" {
				v[key] = text
			}
		}
		if m.Err != nil {
			v["error"] = m.Err.Error()
		}
		if err := b.e.printJSON(v); err != nil {
			return err
		}
	}
	for _, w := range r.Verdict() {
		limits := []map[string]any{}
		for _, l := range w.Limits {
			v := map[string]any{"limit": l.Name, "bytes_per_second": int64(l.Rate)}
			if l.Stage != nil {
				v["stage"] = l.Stage.Name
			}
			limits = append(limits, v)
		}
		if err := b.e.printJSON(map[string]any{"type": "bench_limit", "work": w.Name, "bytes_per_second": int64(w.Rate()), "limits": limits}); err != nil {
			return err
		}
	}
	v := map[string]any{"type": "bench", "cores": r.Cores, "data": r.Geometry.K, "parity": r.Geometry.M}
	if r.Ratio > 0 {
		v["ratio"], v["processor_share"] = r.Ratio, r.Share
	}
	return b.e.printJSON(v)
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
