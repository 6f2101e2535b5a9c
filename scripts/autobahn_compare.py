"""Compares what Autobahn found with the results that are committed.

Arguments: the suite's index.json, the committed file, and 1 to write it instead of comparing.
A case that failed, is worse than it was, or is missing fails the run.
"""

import json
import sys

# From good to bad, in the suite's words.
ORDER = ["OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED"]
ORDER += ["UNCLEAN", "WRONG CODE", "FAILED BY CLIENT", "FAILED"]
ACCEPTED = {"OK", "INFORMATIONAL", "NON-STRICT"}


def case_number(case):
    return [int(part) for part in case.split(".")]


def results(index):
    cases = index["fanfare"]
    return {
        case: {"behavior": cases[case]["behavior"], "behaviorClose": cases[case]["behaviorClose"]}
        for case in sorted(cases, key=case_number)
    }


def main(index_path, committed_path, write):
    found = results(json.load(open(index_path)))
    if write == "1":
        with open(committed_path, "w") as file:
            rows = [f"  {json.dumps(case)}: {json.dumps(result)}" for case, result in found.items()]
            file.write("{\n" + ",\n".join(rows) + "\n}\n")
        print(f"autobahn: wrote {len(found)} cases to {committed_path}")
    committed = json.load(open(committed_path))
    wrong = [f"{case}: not run" for case in committed if case not in found]
    for case, result in found.items():
        for what, value in result.items():
            before = committed.get(case, {}).get(what, "FAILED")
            if value not in ACCEPTED or ORDER.index(value) > ORDER.index(before):
                wrong.append(f"{case}: {what} is {value}, it was {before}")
            elif value != "OK":
                print(f"autobahn: {case}: {what} is {value}")
    for line in wrong:
        print(f"autobahn: WRONG {line}")
    print(f"autobahn: {len(found)} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


sys.exit(main(*sys.argv[1:]))
