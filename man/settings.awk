# Turns the output of `tanistd --settings` into scdoc: a heading for each section, an entry for
# each row, and the sections with rows of their own kind (flavors, ...) as they are.

function escaped(s) { gsub(/[_*\\<]/, "\\\\&", s); return s }
function literal_end() { if (literal) { print "```\n"; literal = 0 } }

/^\[/    { section = substr($0, 2, length($0) - 2); print "# SECTION " toupper(section) "\n"; note = ""; next }
section == "" { next }
/^# / && !literal { note = note == "" ? substr($0, 3) : note " " substr($0, 3); next }
/^#\[/   { literal = 1; print "# SECTION " toupper(substr($0, 3, index($0, ":") - 3)) ":NAME\n\n" escaped(note) "\n\n```"; note = "" }
literal && /^#/ { print substr($0, 2); next }
/^#[a-z_]+ =/ {
	split(substr($0, 2), part, / = ?/)
	print "*" escaped(part[1]) "* = " (part[2] == "" ? "(empty)" : escaped(part[2]))
	print "\t" escaped(note) "\n"
	note = ""
	next
}
/^$/     { literal_end(); if (note != "") next }
END      { literal_end() }
