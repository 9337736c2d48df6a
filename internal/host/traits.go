package host

import (
	"rollcall/internal/ns"
	"rollcall/internal/payload"
	"rollcall/internal/stanza"
	"rollcall/internal/xmlstream"
)

// Traits are what is to be known of a message's content.
type Traits uint8

// The traits.
const (
	HasBody       Traits = 1 << iota // <body/>
	HasContent                       // something that is worth being kept: all but what is only about this moment
	IsChatting                       // a receipt, chat state or marker (XEP-0184, XEP-0085, XEP-0333)
	IsRoomPrivate                    // a private message within a room: <x/> of muc#user, without an invitation
	IsInvitation                     // to a room, by itself (XEP-0249) or through it (XEP-0045 section 7.8.2)
	NotCopied                        // <private/> (XEP-0280 section 9) or <no-copy/> (XEP-0334)
	NotStored                        // <no-store/>
	NotArchived                      // <no-permanent-store/>
)

// Traits gives those of a message.
func (p *Passage) Traits() Traits { return p.traits }

// traitsOf reads a message's children.
func traitsOf(message *xmlstream.Element) (t Traits) {
	for i := range message.Nodes {
		if c := message.Nodes[i].Elem; c != nil {
			t |= traitsOfChild(c)
		}
	}
	return t
}

func traitsOfChild(c *xmlstream.Element) Traits {
	switch c.Space {
	case ns.Client:
		switch c.Local {
		case "body":
			return HasBody | HasContent
		case "thread":
			return 0
		}
	case ns.ChatStates:
		return IsChatting
	case ns.Receipts, ns.Markers:
		return IsChatting | HasContent
	case ns.Hints:
		return traitsOfHint(payload.HintOf(c))
	case ns.Carbons:
		return NotCopied // <private/>: others are taken out before
	case ns.MUCUser:
		if c.Child(ns.MUCUser, "invite") != nil {
			return IsInvitation | HasContent
		}
		return IsRoomPrivate
	case ns.Conference:
		return IsInvitation | HasContent
	case ns.SID, ns.Delay, ns.PubsubEvent:
		return 0
	}
	return HasContent
}

func traitsOfHint(h payload.Hints) Traits {
	switch h {
	case payload.NoStore:
		return NotStored
	case payload.NoPermanentStore:
		return NotArchived
	case payload.NoCopy:
		return NotCopied
	case payload.Store:
		return HasContent
	}
	return 0
}

// storable tells whether a message may wait for its recipient: one of type chat or normal (XEP-0160 section 3) that has
// something to wait, and does not ask not to (XEP-0334).
func (p *Passage) storable() bool {
	return (p.Type == stanza.TypeChat || p.Type == stanza.TypeNormal) && p.traits&(HasContent|NotStored) == HasContent
}

// purge takes out of a client's message what only servers may say: ids and delays in the names of our addresses (XEP-0359
// section 5: "MUST delete that element"), and copies and results, which clients must take from their own account only and
// some have taken from anybody (CVE-2017-5589, CVE-2020-26547). The element is not yet shared with anybody.
func (h *Host) purge(message *xmlstream.Element) {
	for i := range message.Nodes {
		if c := message.Nodes[i].Elem; c != nil && h.forged(c) {
			kept := message.Nodes[:i:i]
			for _, n := range message.Nodes[i+1:] {
				if n.Elem == nil || !h.forged(n.Elem) {
					kept = append(kept, n)
				}
			}
			message.Nodes = kept
			return
		}
	}
}

func (h *Host) forged(child *xmlstream.Element) bool {
	switch child.Space {
	case ns.Carbons:
		return child.Local != "private"
	case ns.MAM:
		return true
	case ns.SID, ns.Delay:
		by, claims := payload.Claims(child)
		return claims && (by.IsZero() && child.Space == ns.SID || !by.IsZero() && h.registry.Host(by.Domain()) != nil)
	}
	return false
}
