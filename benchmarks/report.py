"""The report: one table of what was measured, one of ratios and goals, and what the run stood on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.results import PASSES, Figure, Ratio, Result, Table, ratios

_EXPLAINED = """\
All contenders ran one after the other on this machine, against the same page server and the same PostgreSQL (fsync,
synchronous_commit and full_page_writes on; a fresh database each; a checkpoint before each pass). Each pass is a
process of its own, as a schedule would start it; a short pass with nothing changed is the median of three. *wall* is
from its start to its end, interpreter and imports included, and is what ratios and goals are held against; *working*
is what the program itself says it took after its imports; *CPU* is the client's (user and system), without PostgreSQL
and the page server, which share the cores; *peak* is the resident memory of the largest process. Each pass that
changes something counts only because the number of deals and the sum of their amounts in the contender's table then
equalled the source's.

dealsync writes more than its peers: the raw record, the projection, the outbox, and in the ledger the source event, the
hash-chained domain event and the deal. Its first load is `dealsync pull` with `dealsync publish` following in a second
process until the ledger holds everything. `pull` trusts the source's clock, as dlt's cursor does; `sweep` reads every
deal and trusts no clock, as dlt without a cursor does. The tables are made beforehand (`dealsync migrate`)."""


def render(table: Table) -> str:
    """The whole report as Markdown."""
    parts = [
        "# Measured",
        "\n".join(f"- {line}" for line in table.machine),
        f"## {table.deals:,} Planhat deals of about 900 bytes, pages of 2,000",
        _grid(("pass", "contender", "wall s", "records/s", "working s", "CPU s", "peak MB"), _passes(table)),
        "## Ratios within this run",
        _grid(
            ("pass", "dealsync", "against", "times faster", "by working time", "goal", ""), map(_ratio, ratios(table))
        ),
    ]
    if table.figures:
        parts += ["## Figures", _grid(("what", "measured", "goal", ""), map(_figure, table.figures))]
    if table.failures:
        parts += ["## Not measured", "\n".join(f"- {line}" for line in table.failures)]
    parts += ["## How to read this", _EXPLAINED]
    return "\n\n".join(parts) + "\n"


def _passes(table: Table) -> Iterable[Sequence[str]]:
    for name in PASSES:
        for result in table.results:
            if result.name == name:
                spent = result.spent
                yield (
                    name,
                    _named(result),
                    f"{spent.wall_s:.2f}",
                    f"{table.deals / spent.wall_s:,.0f}",
                    "" if spent.working_s is None else f"{spent.working_s:.2f}",
                    f"{spent.cpu_s:.2f}",
                    f"{spent.peak_mb:.0f}",
                )


def _ratio(ratio: Ratio) -> Sequence[str]:
    by_work = "" if ratio.by_work is None else f"{ratio.by_work:.1f}x"
    goal = ("", "") if ratio.goal is None else (f">= {ratio.goal:g}x", _verdict(ratio.by_wall >= ratio.goal))
    return (ratio.name, _named(ratio.ours), _named(ratio.theirs), f"{ratio.by_wall:.1f}x", by_work, *goal)


def _figure(figure: Figure) -> Sequence[str]:
    goal = ""
    if figure.at_least is not None:
        goal = f">= {figure.at_least:,.0f}"
    elif figure.at_most is not None:
        goal = f"<= {figure.at_most:,.0f}"
    value = f"{_number(figure.value)} {figure.unit}"
    return (figure.what, value, goal, "" if figure.met is None else _verdict(figure.met))


def _named(result: Result) -> str:
    return f"{result.contender} ({result.road})" if result.road else result.contender


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 10 else f"{value:.2f}"


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in a terminal too; numbers to the right."""
    body = [tuple(row) for row in rows]
    widths = [max(3, *(len(row[column]) for row in (tuple(head), *body))) for column in range(len(head))]
    right = [all(_numeric(row[column]) for row in body) and bool(body) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
        return "| " + " | ".join(padded) + " |"

    rule = [("-" * (width - 1) + ":") if r else "-" * width for width, r in zip(widths, right, strict=True)]
    return "\n".join([line(head), "| " + " | ".join(rule) + " |", *map(line, body)])


def _numeric(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell.startswith((">=", "<="))
