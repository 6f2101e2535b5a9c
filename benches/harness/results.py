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
    """Steps by work and contender: what each figure was in each round, and whether it was sound."""

    def __init__(self, works, contenders):
        self.works = {work.key: work for work in works}
        self.contenders = {contender.key: contender for contender in contenders}
        self.steps = {}  # (work's key, contender's key) -> a dictionary for each round
        self.runs = {}  # the same -> all steps of the run that these are of, where they were loaded
        self.failures = {}  # the same -> why steps of this run were not sound

    def add(self, work, contender, told):
        """One step. `told` is the generator's answer; where there was none, only its failures."""
        step = {figure.label: figure.of(told) for figure in work.figures}
        step["sound"] = bool(told.get("sound"))
        if not step["sound"]:
            whys = [str(why) for why in told.get("failures") or ["no reason was given"]]
            self.failures.setdefault((work.key, contender.key), []).extend(whys)
        self.steps.setdefault((work.key, contender.key), []).append(step)

    def load(self, file):
        """Takes the last steps of each work and contender out of a record, each with its own run."""
        runs = {}
        for text in file.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line.get("bench") != "fan-out":
                continue
            pair = line["work"], line["contender"]
            if pair[0] in self.works and pair[1] in self.contenders:
                run = runs.setdefault(line["at"], {})
                self.steps[pair] = run[pair] = line["steps"]
                self.runs[pair] = run

    @staticmethod
    def sound(steps, figure):
        """The figure in each round; `None` where it is missing, or the step was not sound."""
        return [step.get(figure.label) if step["sound"] else None for step in steps]

    def median(self, work, contender, figure):
        """Over the rounds that have it."""
        steps = self.sound(self.steps.get((work.key, contender), []), figure)
        values = [value for value in steps if value is not None]
        return statistics.median(values) if values else None

    def ratio(self, work, contender, figure):
        """Median over the rounds of this contender's figure over the limit's in the same round."""
        limit, pair = self.limit_of(work), (work.key, contender)
        if not figure.has_limit or limit in (None, contender) or pair not in self.steps:
            return None
        beside = self.runs.get(pair, self.steps).get((work.key, limit), [])
        ratios = self.ratios(self.steps[pair], beside, figure)
        return statistics.median(ratios) if ratios else None

    @classmethod
    def ratios(cls, steps, beside, figure):
        """A figure over that of another in the same round, of the rounds where both are above zero.

        What memory grew by may be below it, and CPU that the kernel did not count is zero.
        """
        pairs = zip(cls.sound(steps, figure), cls.sound(beside, figure))
        return [one / other for one, other in pairs if (one or 0) > 0 and (other or 0) > 0]

    def limit_of(self, work):
        """The contender that this work is held against."""
        keys = (f"limit:{variant}" for variant in work.limit)
        return next((key for key in keys if (work.key, key) in self.steps), None)

    def unsound(self, work, contender):
        """Rounds in which something was lost, doubled, out of order, or not answered at all."""
        return sum(not step["sound"] for step in self.steps.get((work.key, contender), []))

    def record(self, file, versions):
        """Appends a line for each work and contender."""
        file.parent.mkdir(parents=True, exist_ok=True)
        facts = machine.facts()
        with file.open("a", encoding="utf-8") as out:
            for (work_key, key), steps in self.steps.items():
                work = self.works[work_key]
                line = {"bench": "fan-out", "work": work_key, "contender": key}
                line |= {"clients": work.clients, "rounds": len(steps), "steps": steps}
                for figure in work.figures:
                    line[figure.label] = self.median(work, key, figure)
                    ratio = self.ratio(work, key, figure)
                    if ratio is not None:
                        line[f"{figure.label}, to {self.limit_of(work)}"] = ratio
                line["version"] = versions.get(key.partition(":")[0], "")
                out.write(json.dumps(line | facts) + "\n")

    def cell(self, work, contender, figure):
        """A figure as text, with its ratio to the limit."""
        if (work.key, contender) not in self.steps:
            return ""
        median, unsound = self.median(work, contender, figure), self.unsound(work, contender)
        if median is None:
            return "not once sound" if unsound else ""
        ratio = self.ratio(work, contender, figure)
        text = f"{median:,.{figure.digits}f}" + (f" ({ratio:.2f}x)" if ratio is not None else "")
        return text + (f" [{unsound} unsound]" if unsound else "")

    def ranked(self, work, keys):
        """Contenders that were in a work, best first by its first figure."""
        figure = work.figures[0]
        sign = -1 if figure.more_is_better else 1

        def rank(key):
            median = self.median(work, key, figure)
            return (median is None, sign * (median or 0))

        return sorted((key for key in keys if (work.key, key) in self.steps), key=rank)

    def detail(self):
        """A table for each work, every figure of it, for the terminal and the documentation."""
        parts = []
        for work in self.works.values():
            keys = self.ranked(work, self.contenders)
            if not keys:
                continue
            heads = [figure.label for figure in work.figures]
            parts.append(f"\n**{work.title}** (`{work.key}`)\n")
            parts.append("| | " + " | ".join(heads) + " |")
            parts.append("|---" + "|---:" * len(heads) + "|")
            for key in keys:
                cells = [self.cell(work, key, figure) for figure in work.figures]
                parts.append(f"| {self.contenders[key].title} | " + " | ".join(cells) + " |")
        return "\n".join(parts)

    def overview(self):
        """One table: a row for each server, at its best in each work; a column for each work."""
        works = [work for work in self.works.values() if work.short]
        folders = {}
        for key, contender in self.contenders.items():
            folders.setdefault(contender.folder.name, []).append((key, contender))
        lines = ["| | " + " | ".join(work.short for work in works) + " |"]
        lines.append("|---" + "|---:" * len(works) + "|")
        for name, variants in folders.items():
            # Fanfare is what its defaults are.
            keys = [key for key, _ in (variants[:1] if name == "fanfare" else variants)]
            cells = []
            for work in works:
                mine = [self.limit_of(work)] if name == "limit" else keys
                best = self.ranked(work, mine) if name != "limit" or work.figures[0].has_limit else []
                cells.append(self.cell(work, best[0], work.figures[0]) if best else "")
            title = {"fanfare": "**Fanfare**", "limit": "the limit"}.get(name, variants[0][1].name)
            if any(cells):
                lines.append(f"| {title} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def write_between(file, text):
    """Puts a table between the two marks of a page."""
    page = file.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"run: {file} has no place for the table: {BEGIN} ... {END}")
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
