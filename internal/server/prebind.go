package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"rollcall/internal/admin"
	"rollcall/internal/c2s"
	"rollcall/internal/c2s/bosh"
	"rollcall/internal/stanza"
)

// prebind lets the admin API make BOSH sessions of a host's users.
func (s *Server) prebind(host string) func(context.Context, admin.Prebind) (admin.Prebound, error) {
	return func(ctx context.Context, p admin.Prebind) (admin.Prebound, error) {
		got, err := s.bosh.Prebind(ctx, bosh.Ahead{Host: host, User: p.User, Resource: p.Resource, Wait: p.Wait, Hold: p.Hold})
		var refused *bosh.Refused
		switch {
		case errors.Is(err, c2s.ErrCrowded):
			err = admin.ErrBusy
		case errors.As(err, &refused) && refused.Condition == "system-shutdown":
			err = admin.ErrBusy
		case errors.As(err, &refused) && refused.Condition == string(stanza.ResourceConstraint):
			err = fmt.Errorf("%w: %s", admin.ErrSessions, refused.Text)
		}
		if err != nil {
			return admin.Prebound{}, err
		}
		return admin.Prebound{JID: got.JID, SID: got.SID, RID: strconv.FormatUint(got.RID, 10)}, nil
	}
}
