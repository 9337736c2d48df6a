package peer

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// inParallel calls do for 0 to n-1, at most limit at a time, until one fails.
func inParallel(ctx context.Context, n, limit int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(limit)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}
