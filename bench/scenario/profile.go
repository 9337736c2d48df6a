package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
)

// profile begins a CPU profile of the server, where it has bench/profiled's door and profiles are asked for; the function that it returns
// ends it. What was allocated is saved before and after, for go tool pprof -base.
func (r *run) profile(ctx context.Context, scenario string) (func() error, error) {
	if err := r.save(ctx, http.MethodGet, "allocs", scenario+".allocs-before"); err != nil {
		return nil, err
	}
	if err := r.save(ctx, http.MethodPost, "start", ""); err != nil {
		return nil, err
	}
	return func() error {
		return errors.Join(
			r.save(ctx, http.MethodPost, "stop", scenario+".cpu"),
			r.save(ctx, http.MethodGet, "allocs", scenario+".allocs"))
	}, nil
}

// save asks the profiler's door for something and writes the answer to a file, unless that has no name.
func (r *run) save(ctx context.Context, method, what, file string) error {
	if r.server.Profiler == "" || r.Profiles == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, method, r.server.Profiler+"/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("profiler: %s: %d: %s", what, resp.StatusCode, b)
	case file == "":
		return nil
	}
	return os.WriteFile(r.Profiles+file+".pprof", b, 0o644)
}
