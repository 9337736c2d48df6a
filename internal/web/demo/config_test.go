package demo

import (
	"net"
	"strings"
	"testing"

	"rollcall/internal/config"
)

func TestConfig(t *testing.T) {
	b, err := Config(DefaultHTTP, "[::1]:5222")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse("demo", b)
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	h := cfg.Hosts[0]
	if cfg.DataDir != "" || cfg.Listen.C2S != "[::1]:5222" || cfg.Listen.HTTP != DefaultHTTP || len(cfg.Hosts) != 1 ||
		h.Name != "localhost" || h.Auth.Method != config.AuthOpen || h.Roster.URL != "http://127.0.0.1:5280/contacts/%s" || !h.Roster.Mutual {
		t.Errorf("%+v", cfg)
	}
}

// The demo lets everybody in, so it is not for other machines.
func TestConfigRefuses(t *testing.T) {
	for _, address := range []string{":5280", "0.0.0.0:5280", "192.168.1.2:5280", "localhost:5280", "127.0.0.1", "127.0.0.1:0", "", `127.0.0.1:1"`} {
		for _, pair := range [][2]string{{address, DefaultC2S}, {DefaultHTTP, address}} {
			if b, err := Config(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), "loopback") {
				t.Errorf("%q: %v\n%s", pair, err, b)
			}
		}
	}
}

func TestFreeAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other, err := FreeAddress(taken.Addr().String())
	if err != nil || other == taken.Addr().String() || !strings.HasPrefix(other, "127.0.0.1:") {
		t.Errorf("instead of %s: %s, %v", taken.Addr(), other, err)
	}
	if again, err := FreeAddress(other); err != nil || again != other {
		t.Errorf("%s is free, but not chosen: %s, %v", other, again, err)
	}
	for _, bad := range []string{"", "127.0.0.1", "203.0.113.1:5280"} {
		if a, err := FreeAddress(bad); err == nil {
			t.Errorf("%q: %s", bad, a)
		}
	}
}
