"""Medians over the rounds of benches/publish/run: a table for people, JSON lines for the record.

table.py RESULTS RECORD NAME=VERSION...
"""

import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

import machine as this_machine


def main():
    results, record, *versions = sys.argv[1:]
    rounds = {}
    for line in pathlib.Path(results).read_text().splitlines():
        name, said = line.split("\t")
        numbers = {key: float(value) for key, value in (pair.split("=") for pair in said.split())}
        numbers["rate"] = numbers["messages"] / numbers["seconds"]
        rounds.setdefault(name, []).append(numbers)
    machine = {"bench": "publish", **this_machine.facts()}
    machine |= {"versions": dict(pair.split("=", 1) for pair in versions), "payload_bytes": 128}
    print(f"{'128-byte messages, one publisher':58} {'messages/s':>11} {'least':>11} {'most':>11}  a call: median, 99 %")
    with open(record, "a", encoding="utf-8") as file:
        for name, told in rounds.items():
            rates = [one["rate"] for one in told]
            line = {"contender": name, "rounds": len(told), "messages": int(told[0]["messages"])}
            line["messages_per_s"] = round(statistics.median(rates))
            line["messages_per_s_all"] = [round(rate) for rate in rates]
            call = ""
            if "median_ns" in told[0]:
                for key in ("median_ns", "p99_ns"):
                    line[key] = round(statistics.median(one[key] for one in told))
                call = f"{line['median_ns'] / 1000:10.2f} us, {line['p99_ns'] / 1000:.1f} us"
            file.write(json.dumps(line | machine) + "\n")
            print(f"{name:58} {line['messages_per_s']:11,} {min(rates):11,.0f} {max(rates):11,.0f}{call}")


main()
