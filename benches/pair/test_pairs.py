"""What benches/pair makes of its steps: python3 -m unittest discover benches/pair."""

import json
import pathlib
import sys
import tempfile
import types
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "harness"))

from pairs import Pairs, spread, turns
from publishing import RATE, Publishing

WORK = Publishing("publish-embedded", "embedded", "single", 1, True)
CPU = WORK.figures[1]


def side(name):
    """A side that never ran."""
    contender = types.SimpleNamespace(key=name, variant="uring")
    build = types.SimpleNamespace(facts=lambda: {"asked": name})
    return types.SimpleNamespace(name=name, contender=contender, build=build)


def paired(rounds):
    """Pairs of these rates, K/s, before and after in each round; below zero it was unsound."""
    before, after = side("before"), side("after")
    pairs = Pairs([WORK], before, after)
    for rates in rounds:
        for one, rate in zip((before, after), rates):
            answer = {"per_second": abs(rate) * 1e3, "cpu_ns": {"publisher": 7}}
            failures = [] if rate > 0 else ["one was lost"]
            pairs.add(WORK, one, answer | {"sound": rate > 0, "failures": failures})
    return pairs


class Ratios(unittest.TestCase):
    """What is computed."""

    def test_a_ratio_is_of_one_round_and_the_median_is_of_ratios(self):
        # The medians of both are 100: a ratio of medians would be 1.
        pairs = paired([(100, 50), (50, 100), (200, 400)])
        self.assertEqual(pairs.ratios(WORK, RATE), [0.5, 2.0, 2.0])
        self.assertEqual(spread(pairs.ratios(WORK, RATE)), (1.25, 2.0, 2.0))

    def test_each_is_first_in_every_other_round(self):
        self.assertEqual(turns("A", "B", 3), [("A", "B"), ("B", "A"), ("A", "B")])

    def test_quartiles_lie_between_rounds(self):
        self.assertEqual(spread([5.0, 1.0, 4.0, 2.0, 3.0]), (2.0, 3.0, 4.0))
        self.assertEqual(spread([1.5]), (1.5, 1.5, 1.5))
        self.assertIsNone(spread([]))

    def test_a_round_that_was_not_sound_takes_its_pair_with_it(self):
        pairs = paired([(100, -50), (100, 110), (-50, 100)])
        self.assertEqual(pairs.ratios(WORK, RATE), [1.1])
        self.assertEqual(pairs.unsound(), {
            (WORK.key, "before"): ["one was lost"], (WORK.key, "after"): ["one was lost"],
        })

    def test_what_is_not_above_zero_has_no_ratio(self):
        pairs = paired([(100, 100)])
        for one in pairs.results.steps.values():
            one[0][CPU.label] = 0.0
        self.assertEqual(pairs.ratios(WORK, CPU), [])
        self.assertIsNotNone(pairs.table())

    def test_the_table_says_which_way_is_better(self):
        rate, cpu = paired([(100, 50), (50, 100), (200, 400)]).table().splitlines()[2:]
        self.assertEqual(rate, "| `publish-embedded` | messages, K/s | more | 100 | 100 "
                               "| **2.000** | 1.250 to 2.000 | 3 of 3 |")
        self.assertIn("| less | 7 | 7 | **1.000** | 1.000 to 1.000 | 3 of 3 |", cpu)

    def test_the_record_has_every_step_and_what_came_of_them(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "record.jsonl"
            paired([(100, 110), (100, 130)]).record(file, {"cores": 2})
            line = json.loads(file.read_text())
        self.assertEqual([step[RATE.label] for step in line["after"]["steps"]], [110, 130])
        self.assertEqual(line["before"]["build"], {"asked": "before"})
        self.assertAlmostEqual(line["after / before"][RATE.label]["median"], 1.2)
        self.assertEqual((line["bench"], line["cores"]), ("pair", 2))
