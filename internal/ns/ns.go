// Package ns lists every XML namespace that rollcall speaks, each with the document that defines it and the version
// that was implemented. It is the answer to "which protocols does this server know?": a namespace that is not here
// is not spoken.
package ns

// Streams and their negotiation.
const (
	Client  = "jabber:client"                        // RFC 6120 section 4.8.2
	Server  = "jabber:server"                        // RFC 6120 section 4.8.2; only ever refused
	Stream  = "http://etherx.jabber.org/streams"     // RFC 6120 section 4.8.1
	Streams = "urn:ietf:params:xml:ns:xmpp-streams"  // RFC 6120 section 4.9: stream errors
	Stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas"  // RFC 6120 section 8.3: stanza errors
	TLS     = "urn:ietf:params:xml:ns:xmpp-tls"      // RFC 6120 section 5
	SASL    = "urn:ietf:params:xml:ns:xmpp-sasl"     // RFC 6120 section 6
	SASL2   = "urn:xmpp:sasl:2"                      // XEP-0388 v1.0.4: SASL without a restart of the stream
	Bind2   = "urn:xmpp:bind:0"                      // XEP-0386 v1.1.0: a resource bound as the client signs in
	FAST    = "urn:xmpp:fast:0"                      // XEP-0484 v0.2.0: tokens to sign in with again
	SASLCB  = "urn:xmpp:sasl-cb:0"                   // XEP-0440 v1.0.0: channel-binding types
	Bind    = "urn:ietf:params:xml:ns:xmpp-bind"     // RFC 6120 section 7
	Session = "urn:ietf:params:xml:ns:xmpp-session"  // RFC 3921 section 3; optional since RFC 6121
	SM      = "urn:xmpp:sm:3"                        // XEP-0198 v1.6.3: stream management
	CSI     = "urn:xmpp:csi:0"                       // XEP-0352 v1.0.0: nobody looks at the client
	Limits  = "urn:xmpp:stream-limits:0"             // XEP-0478 v0.2: the largest element taken
	Framing = "urn:ietf:params:xml:ns:xmpp-framing"  // RFC 7395: WebSocket
	BOSH    = "http://jabber.org/protocol/httpbind"  // XEP-0124 v1.11.2
	XBOSH   = "urn:xmpp:xbosh"                       // XEP-0206 v1.4
	XML     = "http://www.w3.org/XML/1998/namespace" // Namespaces in XML 1.0: the prefix xml
	XMLNS   = "http://www.w3.org/2000/xmlns/"        // Namespaces in XML 1.0: the prefix xmlns
)

// Instant messaging, presence and rosters.
const (
	Roster    = "jabber:iq:roster"            // RFC 6121 section 2
	RosterVer = "urn:xmpp:features:rosterver" // RFC 6121 section 2.6
)

// Extensions.
const (
	DiscoInfo   = "http://jabber.org/protocol/disco#info"  // XEP-0030 v2.5
	DiscoItems  = "http://jabber.org/protocol/disco#items" // XEP-0030 v2.5
	Commands    = "http://jabber.org/protocol/commands"    // XEP-0050 v1.3.0: ad-hoc commands
	Admin       = "http://jabber.org/protocol/admin"       // XEP-0133 v1.3.1: nodes and forms of commands for administrators
	OwnCommands = "urn:x-rollcall:commands:0"              // the same of commands of our own, about rosters
	Register    = "jabber:iq:register"                     // XEP-0077 v2.4: accounts and their passwords
	Ping        = "urn:xmpp:ping"                          // XEP-0199 v2.0
	Version     = "jabber:iq:version"                      // XEP-0092 v1.1
	Time        = "urn:xmpp:time"                          // XEP-0202 v2.0
	Delay       = "urn:xmpp:delay"                         // XEP-0203 v2.0
	VCardUpdate = "vcard-temp:x:update"                    // XEP-0153 v1.1.1
	VCard       = "vcard-temp"                             // XEP-0054 v1.3.0
	AvatarData  = "urn:xmpp:avatar:data"                   // XEP-0084 v1.1.4
	Private     = "jabber:iq:private"                      // XEP-0049 v1.2
	ChatStates  = "http://jabber.org/protocol/chatstates"  // XEP-0085 v2.1; only ever held back
	Hints       = "urn:xmpp:hints"                         // XEP-0334 v1.0.0; only ever looked at
	Last        = "jabber:iq:last"                         // XEP-0012 v2.0
	Blocking    = "urn:xmpp:blocking"                      // XEP-0191 v1.3
	Caps        = "http://jabber.org/protocol/caps"        // XEP-0115 v1.6.0
	ServerInfo  = "http://jabber.org/network/serverinfo"   // XEP-0157 v1.1.1: whom to turn to about a host
	DataForms   = "jabber:x:data"                          // XEP-0004 v2.13.1
	Pubsub      = "http://jabber.org/protocol/pubsub"      // XEP-0060 v1.29.0, as far as XEP-0163 v1.2.2 asks for it

	RegisterFeature = "http://jabber.org/features/iq-register" // XEP-0077: before sign-in

	PubsubOwner    = "http://jabber.org/protocol/pubsub#owner"  // the same
	PubsubEvent    = "http://jabber.org/protocol/pubsub#event"  // the same
	PubsubErrors   = "http://jabber.org/protocol/pubsub#errors" // the same
	AvatarMetadata = "urn:xmpp:avatar:metadata"                 // XEP-0084 v1.1.4
	// AvatarConversion: what is published as an avatar is in the vCard, and the other way round.
	AvatarConversion = "urn:xmpp:pep-vcard-conversion:0" // XEP-0398 v1.0.0
	// Validate says which values of a form's list are allowed (XEP-0122 v1.0.2).
	Validate = "http://jabber.org/protocol/xdata-validate"
	// BlockingErrors has the condition of an error (XEP-0191 section 3.3).
	BlockingErrors = "urn:xmpp:blocking:errors"
)

// Users that move between servers (internal/transfer).
const (
	PIE      = "urn:xmpp:pie:0"                  // XEP-0227 v1.1
	PIESCRAM = "urn:xmpp:pie:0#scram"            // the same
	PIEMAM   = "urn:xmpp:pie:0#mam"              // the same; only ever counted
	Privacy  = "jabber:iq:privacy"               // XEP-0016 v1.7; only ever read of other servers' exports
	XInclude = "http://www.w3.org/2001/XInclude" // as XEP-0227 has it
)

// Messages.
const (
	RSM        = "http://jabber.org/protocol/rsm"      // XEP-0059 v1.0: pages of results
	Forward    = "urn:xmpp:forward:0"                  // XEP-0297 v1.0
	SID        = "urn:xmpp:sid:0"                      // XEP-0359 v0.7.0
	MAM        = "urn:xmpp:mam:2"                      // XEP-0313 v1.1.3 and XEP-0441 v0.2.0
	Carbons    = "urn:xmpp:carbons:2"                  // XEP-0280 v1.0.1
	Receipts   = "urn:xmpp:receipts"                   // XEP-0184 v1.4.0; only ever looked at
	Markers    = "urn:xmpp:chat-markers:0"             // XEP-0333 v1.0; only ever looked at
	MUCUser    = "http://jabber.org/protocol/muc#user" // XEP-0045 v1.35; only ever looked at
	Conference = "jabber:x:conference"                 // XEP-0249 v1.2; only ever looked at
)
