"""What came of two builds in turns: ratios inside each round, their median and quartiles."""

import json
import statistics

from results import Results


def spread(ratios):
    """Lower quartile, median and upper quartile; `None` of nothing."""
    if len(ratios) < 2:
        return (ratios[0],) * 3 if ratios else None
    return tuple(statistics.quantiles(ratios, n=4, method="inclusive"))


def turns(before, after, rounds):
    """Who is first and who second, in each round: each is first in every other one."""
    return [(before, after) if number % 2 == 0 else (after, before) for number in range(rounds)]


class Pairs:
    """The steps of both sides, by work."""

    def __init__(self, works, before, after):
        self.works = works
        self.before, self.after = before, after
        self.results = Results(works, [before.contender, after.contender])

    def add(self, work, side, answer):
        """One step. Each side has one in each round."""
        self.results.add(work, side.contender, answer)

    def steps(self, work, side):
        """All steps of a side in a work."""
        return self.results.steps.get((work.key, side.name), [])

    def ratios(self, work, figure):
        """AFTER over BEFORE in each round in which both were sound."""
        after, before = self.steps(work, self.after), self.steps(work, self.before)
        return self.results.ratios(after, before, figure)

    def unsound(self):
        """Each work and side in which something was lost, doubled or not answered, and why."""
        return self.results.failures

    def rows(self, work):
        """A row for each figure of a work that anybody has."""
        rounds = len(self.steps(work, self.before))
        head = f"`{work.key}`"
        for figure in work.figures:
            cells = [self.cell(work, side, figure) for side in (self.before, self.after)]
            ratios, ratio = self.ratios(work, figure), ["", ""]
            if ratios:
                low, median, high = spread(ratios)
                ratio = [f"**{median:.3f}**", f"{low:.3f} to {high:.3f}"]
            better = "more" if figure.more_is_better else "less"
            if any(cells):
                yield [head, figure.label, better, *cells, *ratio, f"{len(ratios)} of {rounds}"]
                head = ""

    def cell(self, work, side, figure):
        """The median of a side's sound rounds as text."""
        median = self.results.median(work, side.name, figure)
        return "" if median is None else f"{median:,.{figure.digits}f}"

    def table(self):
        """For the terminal and for a note: one row for each work and figure."""
        heads = "work | figure | better | before | after | after / before | quartiles | rounds"
        lines = [f"| {heads} |", "|---|---|---|---:|---:|---:|---:|---:|"]
        for work in self.works:
            lines += [f"| {' | '.join(row)} |" for row in self.rows(work)]
        return "\n".join(lines)

    def record(self, file, facts):
        """Appends a line for each work."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            for work in self.works:
                sides = {side.name: {"build": side.build.facts(), "steps": self.steps(work, side)}
                         for side in (self.before, self.after)}
                line = {"bench": "pair", "work": work.key, "driver": self.before.contender.variant}
                line |= sides | {"after / before": self.told(work)}
                out.write(json.dumps(line | facts) + "\n")

    def told(self, work):
        """Of each figure the quartiles and the median of its ratios."""
        names = ("lower quartile", "median", "upper quartile")
        spreads = {one.label: spread(self.ratios(work, one)) for one in work.figures}
        return {label: dict(zip(names, three)) for label, three in spreads.items() if three}
