package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/pack"
)

func report(k, m int, members ...*Member) *Report {
	return &Report{
		Cores: 2, Ratio: 2, Geometry: pack.Geometry{K: k, M: m}, Members: members,
		Stages: []*Stage{{Name: Cut, One: 500, All: 1000}, {Name: Hash, One: 1000, All: 2000}, {Name: Encrypt, One: 1000, All: 2000}, {Name: Seal, One: 100, All: 200},
			{Name: Pack, One: 500, All: 1000}, {Name: Open, One: 300, All: 600}},
	}
}

// TestVerdict: the stages' times add up; a member has its share of what is stored.
func TestVerdict(t *testing.T) {
	t.Parallel()
	six := func() (list []*Member) {
		for i := range 6 {
			list = append(list, &Member{Label: string(rune('a' + i)), PutRate: 10, GetRate: 20})
		}
		list[1].PutRate, list[2].GetRate = 4, 5
		return list
	}
	for _, c := range []struct {
		name   string
		report *Report
		want   map[string]int // bytes a second
		limit  map[string]string
	}{
		{
			"machine only", report(1, 0),
			// 1/1000 + 1/2000 + 1/200 + 1/2 · 1/1000; 1/1000 + 1/2000 + 1/2000 + 1/1000
			map[string]int{"backup-new": 143, "backup-random": 333, "backup-known": 667, "restore": 600},
			map[string]string{"backup-new": Processor, "backup-random": Processor, "backup-known": Processor, "restore": Processor},
		},
		{
			"six members", report(4, 2, six()...), // b takes 4 · k · ratio, c gives 5 · n · ratio
			map[string]int{"backup-new": 32, "backup-random": 16, "backup-known": 667, "restore": 60},
			map[string]string{"backup-new": "b", "backup-random": "b", "backup-known": Processor, "restore": "c"},
		},
		{
			"all six on one store", report(4, 2, &Member{Label: "big", PutRate: 30, GetRate: 1000}),
			map[string]int{"backup-new": 40, "backup-random": 20, "backup-known": 667, "restore": 600},
			map[string]string{"backup-new": "big", "backup-random": "big", "backup-known": Processor, "restore": Processor},
		},
		{
			"members only", &Report{Geometry: pack.Geometry{K: 2, M: 1}, Members: []*Member{{Label: "a", PutRate: 10, GetRate: 10}, {Label: "b", PutRate: 20}, {Label: "c"}}},
			map[string]int{"backup-random": 20, "restore": 30},
			map[string]string{"backup-random": "a", "restore": "a"},
		},
		{"nothing", &Report{}, map[string]int{}, map[string]string{}},
	} {
		rates, limits := map[string]int{}, map[string]string{}
		for _, w := range c.report.Verdict() {
			rates[w.Name], limits[w.Name] = int(w.Rate()+0.5), w.Limits[0].Name
		}
		if diff := cmp.Diff(c.want, rates); diff != "" {
			t.Errorf("%s: rates (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.limit, limits); diff != "" {
			t.Errorf("%s: limits (-want +got):\n%s", c.name, diff)
		}
	}
	w := report(1, 0).Verdict()[0]
	if w.Limits[0].Stage.Name != Seal {
		t.Errorf("%s takes most of the time, not %s", Seal, w.Limits[0].Stage.Name)
	}
}
