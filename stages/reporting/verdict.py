"""What a run says, in sentences that are computed from its metrics and their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from stages.evaluation.metrics import rank_systems

METRIC = "ndcg@10"
Board = Mapping[str, Mapping[str, float]]


class Difference(NamedTuple):
    """A mean difference with its 95% interval, and its p-value after Holm's correction."""

    value: float
    low: float
    high: float
    p_holm: float
    significant: bool


def short(value: float) -> str:
    """Return a figure with three digits and without its zero, as .123."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def join(names: Sequence[str]) -> str:
    """Return names as a list in a sentence."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def interval(low: float, high: float) -> str:
    """Return the ends of a 95% interval as words."""
    return f"95% interval {short(low)} to {short(high)}"


def difference(intervals: pl.DataFrame, system: str, other: str) -> Difference | None:
    """Return the difference of `system` to `other` in ndcg@10, None if nothing compares the two.

    Args:
        intervals: metrics/intervals.csv, which holds a pair in one order only, or in both.
        system: Name of a system.
        other: Name of another system.
    """
    columns = ["difference", "low", "high", "p_holm", "significant"]
    table = intervals.filter(metric=METRIC)
    for first, second, sign in ((system, other, 1), (other, system, -1)):
        rows = table.filter(system=first, against=second).select(columns)
        if rows.height:
            value, low, high, p_holm, significant = rows.row(0)
            ends = (low, high) if sign > 0 else (-high, -low)
            return Difference(sign * value, *ends, p_holm, significant)
    return None


def verdict(
    board: Board,
    intervals: pl.DataFrame,
    main_metrics: pl.DataFrame,
    generators: Sequence[str],
    rankers: Sequence[str],
    rule: str,
) -> list[str]:
    """Return three sentences: what is best and by how much, how sure that is, under which rule.

    Args:
        board: The leaderboard.
        intervals: metrics/intervals.csv.
        main_metrics: metrics/plots/main_metrics.csv, with each system's own interval.
        generators: The candidate generators on the leaderboard.
        rankers: The rankers on the leaderboard.
        rule: From `rule_sentence`.
    """
    best, *others = rank_systems(board, list(board))
    figure = short(board[best][METRIC])
    own = main_metrics.filter(system=best, metric=METRIC).select("low", "high").row(0)
    if not others:
        return [
            f"{best} is the only system: its {METRIC} on the test targets is {figure} "
            f"({interval(*own)}).",
            "It is compared with nothing, so nothing is known of its rank.",
            rule,
        ]
    best_generator = next(iter(rank_systems(board, generators)), None)
    is_generator = best == best_generator
    other = others[0] if is_generator or best_generator is None else best_generator
    role = "the second" if other == others[0] else "the best generator"
    if other == best_generator == others[0]:
        role = "the best generator and the second"
    lead = difference(intervals, best, other)
    gap = short(lead.value if lead else board[best][METRIC] - board[other][METRIC])
    ends = f" ({interval(lead.low, lead.high)})" if lead else ""
    kind = "The generator " if is_generator else ""
    first = (
        f"{kind}{best} is best by {METRIC} on the test targets with {figure}, "
        f"{gap}{ends} more than {other}, {role}"
    )
    first += "; no ranker is ahead of it." if is_generator and rankers else "."
    return [first, certainty(board, intervals, own, best, others), rule]


def certainty(
    board: Board,
    intervals: pl.DataFrame,
    own: tuple[float, float],
    best: str,
    others: Sequence[str],
) -> str:
    """Say which leads are significant, and what is known of the second.

    Args:
        board: The leaderboard.
        intervals: metrics/intervals.csv.
        own: The ends of the interval of the best system.
        best: The best system.
        others: The other systems, best first.
    """
    baselines = set(intervals["against"]) | {others[0]}
    leads = {name: difference(intervals, best, name) for name in others if name in baselines}
    tested = {name: lead for name, lead in leads.items() if lead}
    sure = [name for name, lead in tested.items() if lead.significant]
    unsure = [name for name in tested if name not in sure]
    if sure:
        p_value = max(tested[name].p_holm for name in sure)
        p_text = "p < .001" if p_value < 0.001 else f"p = {short(p_value)}"
        text = f"Its lead over {join(sure)} is significant after Holm's correction ({p_text})"
        text += f", that over {join(unsure)} is not" if unsure else ""
    elif unsure:
        text = f"Its lead over {join(unsure)} is not significant after Holm's correction"
    else:
        text = ""
    second = others[0]
    if second in tested:
        return f"{text}."
    # Intervals of two systems do not test their difference: the users are the same.
    figure, (low, high) = board[second][METRIC], own
    where = "below" if figure < low else "within"
    start = f"{text}; that" if tested else "Its lead"
    return (
        f"{start} over the second, {second} with {short(figure)}, is not tested: {second} is "
        f"{where} the {interval(low, high)} of {best}."
    )


def rule_sentence(split: Mapping[str, Any], method: str, targets: str, exclude: str) -> str:
    """Say how a run is measured.

    Args:
        split: metrics/split.json.
        method: `time_split.method`.
        targets: `time_split.targets`, which the method `global` reads.
        exclude: `candidates.exclude`.
    """
    counts = f"{split['test_users']:,} users with one held-out positive each"
    which = f"the {targets} of each user after one cut in time for all"
    if method == "leave_one_out":
        which = "the last of each user"
    elif targets == "all":
        counts = f"{split['test_users']:,} users and {split['test_targets']:,} held-out positives"
        which = "all after one cut in time, the mean over a user's counting once"
    seen = "rated" if exclude == "rated" else "had as a positive"
    return (
        f"The rule: {counts}, {which}; all movies compete, but none that the user has {seen} "
        "before; the intervals are over users, for one run."
    )


def served_sentence(validation: pl.DataFrame, served: str, rankers: Sequence[str]) -> str:
    """Say why the served ranker is the served one, by the validation figures.

    Args:
        validation: metrics/validation.csv.
        served: The system of `export.ranker`.
        rankers: The systems that are rankers.
    """
    table = validation.filter(metric=METRIC).sort("value", descending=True, maintain_order=True)
    rows = {row["system"]: row for row in table.iter_rows(named=True)}
    ranked = [name for name in rows if name in rankers]
    start = f"The served ranker is {served} (export.ranker)"
    if served not in rows:
        return f"{start}; it is not measured (leaderboard.exclude)."
    own = rows[served]
    figure = f"{METRIC} {short(own['value'])}, {interval(own['low'], own['high'])}"
    best = ranked[0]
    if best == served:
        text = f"{start}: it is the best ranker on the validation targets, out of fold ({figure})"
        if len(ranked) > 1:
            second = rows[ranked[1]]["value"]
            text += f", before {ranked[1]} with {short(second)}"
            text += ", which is within the interval" if second >= own["low"] else ""
    else:
        text = f"{start}: on the validation targets, out of fold, {best} is ahead of it with "
        text += f"{short(rows[best]['value'])} ({served}: {figure})"
        if rows[best]["value"] <= own["high"]:
            text += ", which is within the interval"
    ahead = [name for name in rows if name not in rankers and rows[name]["value"] > own["value"]]
    if ahead:
        text += f"; {join(ahead)} without a ranker {'is' if len(ahead) == 1 else 'are'} ahead, too"
    return f"{text}. No test figure is part of this comparison."
