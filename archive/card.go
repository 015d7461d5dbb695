package archive

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

const (
	cardName    = "cairn.json"
	cardVersion = 1
	maxCard     = 64 << 10
	placement   = "rotate"
)

// Card is a member's cairn.json (docs/format.md §2): which archive it belongs to, and which member it is.
type Card struct {
	Version  int      `json:"cairn"`
	Archive  string   `json:"archive"`
	Member   string   `json:"member"`
	Layout   Layout   `json:"layout"`
	Chunker  Chunker  `json:"chunker"`
	Features []string `json:"features"`
	Created  string   `json:"created"`
	MAC      string   `json:"mac"`
}

// Layout says how packs are spread.
type Layout struct {
	Epoch     uint16   `json:"epoch"`
	Data      int      `json:"data"`
	Parity    int      `json:"parity"`
	Placement string   `json:"placement"`
	Members   []string `json:"members"`
}

// Chunker holds the public part of the chunking parameters; the polynomial comes from the keys.
type Chunker struct {
	Min  int `json:"min"`
	Max  int `json:"max"`
	Bits int `json:"bits"`
}

// parseCard reads and checks a card as far as it can be checked without a key.
func parseCard(data []byte) (*Card, error) {
	if len(data) > maxCard {
		return nil, fmt.Errorf("card of %d bytes is longer than %d", len(data), maxCard)
	}
	var c Card
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("not a member card: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a member card: something follows it")
	}
	if c.Version != cardVersion {
		return nil, fmt.Errorf("archive format %d is not known to this version of cairn (it knows %d)", c.Version, cardVersion)
	}
	if len(c.Features) > 0 {
		return nil, fmt.Errorf("archive uses features that this version of cairn does not know: %s", strings.Join(c.Features, ", "))
	}
	if _, err := c.archiveID(); err != nil {
		return nil, err
	}
	if err := c.checkLayout(); err != nil {
		return nil, err
	}
	return &c, nil
}

// agrees says whether two cards tell the same of everything but the member itself.
func (c *Card) agrees(o *Card) bool {
	l, m := c.Layout, o.Layout
	return c.Archive == o.Archive && c.Created == o.Created && c.Chunker == o.Chunker && slices.Equal(c.Features, o.Features) &&
		l.Epoch == m.Epoch && l.Data == m.Data && l.Parity == m.Parity && l.Placement == m.Placement && slices.Equal(l.Members, m.Members)
}

func (c *Card) checkLayout() error {
	l := c.Layout
	if l.Placement != placement {
		return fmt.Errorf("placement %.40q is not known to this version of cairn", l.Placement)
	}
	if err := c.geometry().Validate(); err != nil {
		return err
	}
	if len(l.Members) != l.Data+l.Parity {
		return fmt.Errorf("card names %d members for %d+%d shards", len(l.Members), l.Data, l.Parity)
	}
	seen := map[string]bool{}
	for _, m := range l.Members {
		if raw, err := hex.DecodeString(m); err != nil || len(raw) != 16 || hex.EncodeToString(raw) != m || seen[m] {
			return fmt.Errorf("card's member id %.40q is malformed or occurs twice", m)
		}
		seen[m] = true
	}
	if c.number() < 0 {
		return fmt.Errorf("card's own member id %.40q is not among its members", c.Member)
	}
	p := c.params(0)
	p.Poly = 0x3DA3358B4DC173 // any valid one: only the sizes are checked here
	return p.Validate()
}

func (c *Card) archiveID() (seal.ArchiveID, error) { return seal.ParseArchiveID(c.Archive) }

// number is the member's place in the layout, or -1.
func (c *Card) number() int { return slices.Index(c.Layout.Members, c.Member) }

func (c *Card) geometry() pack.Geometry {
	return pack.Geometry{K: c.Layout.Data, M: c.Layout.Parity, Epoch: c.Layout.Epoch}
}

func (c *Card) params(poly uint64) chunk.Params {
	return chunk.Params{Poly: poly, Min: c.Chunker.Min, Max: c.Chunker.Max, Bits: c.Chunker.Bits}
}

// macLines is the message that the card's MAC covers.
func (c *Card) macLines() []byte {
	var b bytes.Buffer
	for _, s := range []any{"cairn/v1/card", c.Archive, c.Member, c.Layout.Epoch, c.Layout.Data, c.Layout.Parity,
		c.Layout.Placement, strings.Join(c.Layout.Members, ","), c.Chunker.Min, c.Chunker.Max, c.Chunker.Bits,
		strings.Join(c.Features, ","), c.Created} {
		fmt.Fprintf(&b, "%v\n", s)
	}
	return b.Bytes()
}

func (c *Card) sign(k *seal.Keys) {
	mac := k.CardMAC(c.macLines())
	c.MAC = hex.EncodeToString(mac[:])
}

// verify checks the MAC: that nobody without a key changed the layout.
func (c *Card) verify(k *seal.Keys) error {
	want := k.CardMAC(c.macLines())
	if !hmac.Equal([]byte(c.MAC), []byte(hex.EncodeToString(want[:]))) {
		return fmt.Errorf("card of member %d is damaged or was changed by somebody without the key", c.number())
	}
	return nil
}

func (c *Card) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// newCards makes the cards of a fresh archive, one for each member.
func newCards(id seal.ArchiveID, k *seal.Keys, data, parity int, p chunk.Params, now time.Time) ([]*Card, error) {
	n := data + parity
	members := make([]string, n)
	for i := range members {
		members[i] = seal.NewArchiveID().String() // 16 random bytes, as member ids are
	}
	cards := make([]*Card, n)
	for i := range cards {
		cards[i] = &Card{
			Version: cardVersion, Archive: id.String(), Member: members[i],
			Layout:   Layout{Epoch: 1, Data: data, Parity: parity, Placement: placement, Members: members},
			Chunker:  Chunker{Min: p.Min, Max: p.Max, Bits: p.Bits},
			Features: []string{}, Created: now.UTC().Format(time.RFC3339),
		}
		if err := cards[i].checkLayout(); err != nil {
			return nil, err
		}
		cards[i].sign(k)
	}
	return cards, nil
}
