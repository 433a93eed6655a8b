#!/bin/sh
# page.sh SOURCE [WHAT PART]: the manual page SOURCE, with the file PART at its line "; WHAT".
set -eu
if [ $# -eq 1 ]; then
	exec scdoc <"$1"
fi
sed -e "/^; $2\$/{r $3
d}" "$1" | scdoc
