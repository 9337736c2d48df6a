package config

import (
	"fmt"
	"slices"
	"strings"
)

func find(known []key, name string) *key {
	for i := range known {
		if known[i].name == name {
			return &known[i]
		}
	}
	return nil
}

// isTableOf says whether known has keys in the table name.
func isTableOf(known []key, name string) bool { return len(keysOf(known, name)) > 0 }

// keysOf returns what may stand directly in a table, "" for the outermost: keys, and the tables in it.
func keysOf(known []key, table string) []string {
	var names []string
	for _, k := range known {
		rest := k.name
		if table != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(k.name, table+"."); !ok {
				continue
			}
		}
		first, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(names, first) {
			names = append(names, first)
		}
	}
	return names
}

// unknown tells which key the writer may have meant with part, in a table of the file or of [[host]], and which there are.
func unknown(table, part string, inHost bool, known []key) error {
	allowed := keysOf(known, table)
	where := "in [" + table + "]"
	switch {
	case inHost && table == "":
		where = "in [[host]]"
	case inHost:
		where = "in " + table + " of [[host]]"
	case table == "":
		where = "outside tables"
		allowed = append(allowed, "host")
	}
	guess := didYouMean(part, allowed)
	if guess == "" {
		guess = elsewhere(table, part, inHost)
	}
	return fmt.Errorf("is unknown%s; allowed %s: %s", guess, where, strings.Join(allowed, ", "))
}

// elsewhere suggests keys of the whole file: of the same name in another table, or of nearly the same full name.
func elsewhere(table, part string, inHost bool) string {
	name := strings.TrimPrefix(table+"."+part, ".")
	if inHost {
		name = "host." + name
	}
	var all, same []string
	for _, k := range rootKeys() {
		all = append(all, k.name)
	}
	for _, k := range hostKeys() {
		all = append(all, "host."+k.name)
	}
	for _, full := range all {
		if full[strings.LastIndexByte(full, '.')+1:] == part {
			same = append(same, full)
		}
	}
	if len(same) > 0 {
		return "; did you mean " + strings.Join(same, " or ") + "?"
	}
	return didYouMean(name, all)
}

// didYouMean names the value nearest to s, if it is near enough to be a slip.
func didYouMean(s string, values []string) string {
	if len(s) > 64 {
		return ""
	}
	best, least := "", max(1, len(s)/3)
	for _, v := range values {
		if d := distance(strings.ToLower(s), v); d <= least && (best == "" || d < least) {
			best, least = v, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance counts the letters to insert, delete, replace or swap with the next that make b of a (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
