package restore

// Refusal is why a plan is not executed as it is.
type Refusal struct {
	Text     string
	Override string // the flag's meaning, in words; "" when nothing overrides it
	Forced   bool   // it was overridden
}

// Refusals lists all reasons against the plan, also those that Options override.
func (p *Plan) Refusals() (list []Refusal) {
	for _, g := range p.Guards {
		if g.Why != "" {
			list = append(list, Refusal{"guard: " + g.Why, "--force", p.Options.ForceGuards})
		}
	}
	for _, text := range p.Missing {
		list = append(list, Refusal{text, "--allow-partial", p.Options.AllowPartial})
	}
	for i := range p.Trees {
		if link := p.Trees[i].Link; link != "" {
			e := &LinkError{link}
			list = append(list, Refusal{Text: e.Error() + " (" + e.Hint() + ")"})
		}
	}
	for _, w := range p.Wipes {
		if w.Err != nil {
			list = append(list, Refusal{Text: w.Err.Error()})
		}
	}
	for _, w := range p.Rewrites {
		if w.Err != nil && p.Options.Rewrite {
			list = append(list, Refusal{Text: "rewrite " + w.Path + ": " + w.Err.Error()})
		}
	}
	for _, text := range p.Foreign() {
		list = append(list, Refusal{"by the snapshot's own source file, " + text, "--trust", p.Options.Trust})
	}
	if len(p.Trees)+len(p.Streams) == 0 {
		list = append(list, Refusal{Text: "nothing of the snapshot would be restored"})
	}
	return list
}
