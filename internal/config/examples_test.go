package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the documents show of a configuration is one, or, where it has no host, a part of one.
func TestConfigurationsInDocuments(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"app-password": "rollcall:secret", "database": "postgres://rollcall@localhost/rollcall", "token": strings.Repeat("x", 40),
		"hooks": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "jwt-secret": strings.Repeat("x", 40),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(b, -1) {
			found++
			text := strings.ReplaceAll(string(block[1]), "/etc/rollcall/", dir+"/")
			if !strings.Contains(text, "[[host]]") {
				text = completed(text)
			}
			if _, err := Parse(filepath.Join(dir, "rollcall.toml"), []byte(text)); err != nil {
				t.Errorf("%s shows this, which is wrong: %v\n%s", page, err, text)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d configurations", found)
	}
}

// completed makes a whole of a host's keys, or of tables.
func completed(text string) string {
	tables := ""
	if !strings.Contains(text, "[tls") {
		tables += "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"
	}
	if !strings.Contains(text, "[admin]") {
		tables += "[admin]\ntoken_file = \"token\"\n"
	}
	tables += "[[host]]\nname = \"chat.example.com\"\nroster.url = \"http://127.0.0.1/%s\"\n"
	if strings.HasPrefix(text, "auth.") {
		return tables + text
	}
	return text + tables
}
