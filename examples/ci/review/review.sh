#!/bin/sh
# Checks policies, and says what each newly allows: review.sh POLICY…
#
# It takes no token and no configuration, and asks nobody: `tidegate check --policy` and `tidegate diff` against the file as it
# is at BASE. What is newly allowed goes to standard output, and as Markdown to SUMMARY, where that is set.
#
#   BASE             the commit to compare with; HEAD
#   STRICT=true      warnings are errors
#   REFUSE=true      what is newly allowed is an error, too
#   TIDEGATE         the program; tidegate
#
# Exit status: 0 the policies are good; 1 one has mistakes, a test of one fails, or REFUSE; 2 one can't be compared.
set -u
tidegate=${TIDEGATE:-tidegate}
base=$(git rev-parse --verify --quiet --end-of-options "${BASE:-HEAD}^{commit}") ||
    { echo "review: there is no commit ${BASE:-HEAD}; a shallow clone needs its history (fetch-depth: 0, GIT_DEPTH: 0)" >&2; exit 2; }
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
worst=0
came_to() { if [ "$1" -gt "$worst" ]; then worst=$1; fi; }
tell() { # TITLE FILE: a line cannot end the block, as each begins with a sign or a place
    printf '%s\n' "$1"
    cat "$2"
    [ -n "${SUMMARY:-}" ] || return 0
    { printf '### %s\n\n' "$1"; if [ -s "$2" ]; then printf '```diff\n'; cat "$2"; printf '```\n\n'; fi; } >> "$SUMMARY"
}

for policy in "$@"; do
    case $policy in
        /*) echo "review: $policy is no path within the repository" >&2; came_to 2; continue ;;
        ./* | ../*) ;;
        *) policy=./$policy ;;
    esac
    "$tidegate" check --policy "$policy" ${STRICT:+$([ "$STRICT" = true ] && echo --strict)} 2> "$scratch/said" ||
        { came_to 1; tell "$policy has mistakes" "$scratch/said"; continue; }
    if ! git show "$base:$policy" > "$scratch/before.yaml" 2> "$scratch/said"; then
        : > "$scratch/said"
        tell "$policy is new: all of it is newly allowed" "$scratch/said"
        [ "${REFUSE:-}" != true ] || came_to 1
        continue
    fi
    "$tidegate" diff "$scratch/before.yaml" "$policy" > "$scratch/differs" 2> "$scratch/said"
    case $? in
        0) tell "$policy: nothing is newly allowed" "$scratch/differs" ;;
        1) tell "$policy: $(tail -n 1 "$scratch/said")" "$scratch/differs"
            [ "${REFUSE:-}" != true ] || came_to 1 ;;
        *) came_to 2; tell "$policy can't be compared" "$scratch/said" ;;
    esac
done
exit "$worst"
