# Reads `go test -v`. Shows each package's line and everything that failing tests said; appends a row to the file `rows`
# for each skipped test and, when rowsof is "each", for each top-level test. Tests that do not run with the race detector
# (those that count allocations) go to the file `again` instead, as package and name.

# Lines of one test follow a line with its name; parallel tests take turns.
/^=== (RUN|CONT|NAME|PAUSE)/ { test = $3; next }

/^ *--- (PASS|FAIL|SKIP): / {
	name = $3
	seconds = $4
	gsub(/[()s]/, "", seconds)
	if ($2 == "SKIP:") {
		reason = said[name]
		sub(/^ *[^ ]*: /, "", reason)
		if (reason ~ /race detector/) disturbed = disturbed " " name
		else printf "skipped\t%d\t%s\t%s\n", seconds, name, reason >> rows
	} else if (rowsof == "each" && $0 !~ /^ /) {
		printf "%s\t%d\t%s\t%s\n", $2 == "PASS:" ? "passed" : "FAILED", seconds, name, "" >> rows
	}
	if ($2 == "FAIL:") print
	else if (rowsof == "each") print
	test = ""
	next
}

/^(ok|FAIL|\?)[ \t]/ {
	if ($1 == "FAIL") printf "%s", output # what the package's tests said, the failing one among them
	if ($1 != "?") print
	n = split(disturbed, names, " ")
	for (i = 1; i <= n; i++) print $2, names[i] >> again
	output = disturbed = ""
	next
}

/^PASS$|^FAIL$/ { next }

{
	said[test] = $0
	output = output $0 "\n"
}
