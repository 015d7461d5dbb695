package prune_test

import "testing"

func TestModelHolds(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]protocol{
		"1 client 1 gc":   {clients: 1, collectors: 1, copies: 1, repack: true},
		"2 clients 1 gc":  {clients: 2, collectors: 1, copies: 1, repack: true},
		"1 client 2 gcs":  {clients: 1, collectors: 2, copies: 1, repack: true},
		"2 clients 2 gcs": {clients: 2, collectors: 2, copies: 1},
	} {
		t.Run(name, func(t *testing.T) { holds(t, p) })
	}
}

func TestModelBites(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]protocol{
		"blind":      {clients: 1, collectors: 1, copies: 1, blind: true},
		"indexFirst": {clients: 1, collectors: 1, copies: 1, indexFirst: true},
		"noRelist":   {clients: 1, collectors: 1, copies: 1, noRelist: true},
		"once":       {clients: 1, collectors: 2, copies: 1, once: true},
	} {
		t.Run(name, func(t *testing.T) { fails(t, p) })
	}
}
