"""What came of a run: medians over rounds, ratios inside each round, the record, the tables.

Rates of one and the same program differ by a third between minutes on a shared machine; what two
programs did right after each other differs by far less. So a ratio is taken in each round, and the
median is of the ratios, never a ratio of medians.
"""

import json
import statistics

import machine

BEGIN, END = "<!-- made by benches/run -->", "<!-- end of what benches/run made -->"


class Results:
    """Steps by work and contender."""

    def __init__(self):
        self.steps = {}  # (work.key, contender.key) -> [told, ...], one for each round; None: failed
        self.works, self.contenders = {}, {}

    def add(self, work, contender, told):
        """One step. `told` is the generator's answer, or `None` where there was none."""
        self.works[work.key], self.contenders[contender.key] = work, contender
        self.steps.setdefault((work.key, contender.key), []).append(told)

    def values(self, work, contender, figure):
        """The figure in each round, `None` where it is missing."""
        told = self.steps.get((work.key, contender), [])
        return [figure.of(one) if one else None for one in told]

    def median(self, work, contender, figure):
        """Over the rounds that have it."""
        values = [value for value in self.values(work, contender, figure) if value is not None]
        return statistics.median(values) if values else None

    def ratio(self, work, contender, figure, to):
        """Median over the rounds of this contender's figure over another's in the same round."""
        pairs = zip(self.values(work, contender, figure), self.values(work, to, figure))
        ratios = [one / other for one, other in pairs if one is not None and other]
        return statistics.median(ratios) if ratios else None

    def limit_of(self, work):
        """The contender that this work is held against."""
        for variant in work.limit:
            if (work.key, f"limit:{variant}") in self.steps:
                return f"limit:{variant}"
        return None

    def unsound(self, work, contender):
        """Rounds in which something was lost, doubled, out of order, or not answered at all."""
        steps = self.steps.get((work.key, contender), [])
        return sum(1 for told in steps if not (told and told.get("sound")))

    def record(self, file, versions):
        """Appends a line for each work and contender."""
        file.parent.mkdir(parents=True, exist_ok=True)
        facts = machine.facts()
        with file.open("a", encoding="utf-8") as out:
            for (work_key, key), steps in self.steps.items():
                work = self.works[work_key]
                line = {"bench": "fan-out", "work": work_key, "contender": key}
                line |= {"clients": work.clients, "rounds": len(steps)}
                line["unsound"] = self.unsound(work, key)
                limit = self.limit_of(work)
                for figure in work.figures:
                    name = figure.name + (f" ({figure.unit})" if figure.unit else "")
                    line[name] = self.median(work, key, figure)
                    line[f"{name}, all"] = self.values(work, key, figure)
                    if limit and limit != key:
                        line[f"{name}, to {limit}"] = self.ratio(work, key, figure, limit)
                line["version"] = versions.get(key.partition(":")[0], "")
                out.write(json.dumps(line | facts) + "\n")

    def cell(self, work, contender, figure):
        """A figure as text, with its ratio to the limit."""
        median = self.median(work, contender, figure)
        if median is None:
            return "did not end" if (work.key, contender) in self.steps else ""
        text = f"{median:,.{figure.digits}f}"
        limit = self.limit_of(work)
        if limit and limit != contender:
            ratio = self.ratio(work, contender, figure, limit)
            text += f" ({ratio:.2f}x)" if ratio is not None else ""
        unsound = self.unsound(work, contender)
        return text + (f" **{unsound} unsound**" if unsound else "")

    def rows(self, work):
        """Contenders of a work, best first by its first figure."""
        figure = work.figures[0]
        keys = [key for (one, key) in self.steps if one == work.key]
        sign = -1 if figure.more_is_better else 1

        def rank(key):
            median = self.median(work, key, figure)
            return (median is None, sign * (median or 0))

        return sorted(keys, key=rank)

    def detail(self):
        """A table for each work, every figure of it, for the terminal and the documentation."""
        parts = []
        for work in self.works.values():
            heads = [f"{one.name}{f', {one.unit}' if one.unit else ''}" for one in work.figures]
            parts.append(f"\n**{work.title}**\n")
            parts.append("| | " + " | ".join(heads) + " |")
            parts.append("|---" * (len(heads) + 1) + "|")
            for key in self.rows(work):
                cells = [self.cell(work, key, figure) for figure in work.figures]
                parts.append(f"| {self.contenders[key].title} | " + " | ".join(cells) + " |")
        return "\n".join(parts)

    def overview(self):
        """One table: a row for each contender, a column for the first figure of each work."""
        works = [work for work in self.works.values() if not work.own_paths]
        heads = [f"{work.title}: {work.figures[0].name}, {work.figures[0].unit}" for work in works]
        lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for key, contender in self.contenders.items():
            cells = [self.cell(work, key, work.figures[0]) for work in works]
            lines.append(f"| {contender.title} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def write_between(file, text):
    """Puts a table between the two marks of a page."""
    page = file.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"run: {file} has no place for the table: {BEGIN} ... {END}")
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
