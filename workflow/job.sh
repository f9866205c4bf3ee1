# What every job's shell begins with; $1 says which process runs the workflow (roistream.lifetime).
set -euo pipefail
export ROISTREAM_STARTED_BY=${1:-}
# With this variable set, a script would not find the library beside it.
unset PYTHONSAFEPATH
# A program that the kernel kills cannot say so itself. In a pipeline measure_memory.py has said it.
trap 'set -- $? ${#PIPESTATUS[@]}
    [ "$1 $2" != "137 1" ] ||
        echo "ERROR: The job was ended by SIGKILL, most likely because memory ran out; give it more, or run fewer at a time." >&2' EXIT
