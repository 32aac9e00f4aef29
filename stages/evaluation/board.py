"""Tables of systems as text."""

from collections.abc import Mapping


def as_markdown(board: Mapping[str, Mapping[str, float | str]], columns: list[str]) -> str:
    """Format the cells of every system as a Markdown table, padded to be readable as text.

    A column that a system lacks is empty.
    """
    widths = [max(len(name), 10) for name in columns]
    first = max(14, *map(len, board))
    heads = " | ".join(f"{name:>{width}}" for name, width in zip(columns, widths))
    rules = " | ".join("-" * (width - 1) + ":" for width in widths)
    lines = [f"| {'system':{first}} | {heads} |", f"| {'-' * first} | {rules} |"]
    for system, row in board.items():
        texts = [_format(row.get(name, "")) for name in columns]
        cells = " | ".join(f"{text:>{width}}" for text, width in zip(texts, widths))
        lines.append(f"| {system:{first}} | {cells} |")
    return "\n".join(lines) + "\n"


def _format(cell: float | str) -> str:
    return cell if isinstance(cell, str) else f"{cell:.4f}"
