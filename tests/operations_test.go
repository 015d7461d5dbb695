package tests

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
)

// TestOperationsTable: the numbers in docs/operations.md are those of its formula.
func TestOperationsTable(t *testing.T) {
	t.Parallel()
	rows := regexp.MustCompile(`(?m)^\| (\d+)\+(\d+) \| (\S+) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \|$`).FindAllStringSubmatch(read(t, "../docs/operations.md"), -1)
	if len(rows) < 5 {
		t.Fatalf("only %d rows found", len(rows))
	}
	for _, row := range rows {
		var k, m int
		fmt.Sscan(row[1], &k)
		fmt.Sscan(row[2], &m)
		want := []string{fmt.Sprintf("%.2f", float64(k+m)/float64(k)), row[2],
			fmt.Sprintf("%.1e", lossRate(k, m, 0.02, 7)), fmt.Sprintf("%.1e", lossRate(k, m, 0.02, 30)), fmt.Sprintf("%.1e", lossRate(k, m, 0.005, 30))}
		if got := strings.Join(row[3:], " "); got != strings.Join(want, " ") {
			t.Errorf("%s+%s: %s, want %s", row[1], row[2], got, strings.Join(want, " "))
		}
	}
}

// lossRate is the yearly probability of more than m losses at once, for a member that is lost with probability lambda
// in a year and replaced within days.
func lossRate(k, m int, lambda, days float64) float64 {
	p := math.Pow(lambda, float64(m+1)) * math.Pow(days/365, float64(m))
	for i := range m + 1 {
		p *= float64(k + m - i)
	}
	return p
}
