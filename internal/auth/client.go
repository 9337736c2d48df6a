package auth

import "encoding/base64"

// ClientID names a user's installation of a client in public: the same for the same id, which the client keeps to itself
// ("The SASL2 <user-agent> id itself MUST NOT be exposed by the server", XEP-0386), and saying nothing about it to anybody
// who does not know the server's secret. It is 16 letters, digits, "-" and "_".
func (s *Server) ClientID(username, id string) string {
	return base64.RawURLEncoding.EncodeToString(s.derive("rollcall client", s.host, username, id)[:12])
}
