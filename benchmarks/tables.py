"""Rows of the Markdown tables that the benchmarks print."""


def header(name: str, columns: list[str]) -> str:
    """Return the head of a table whose first column is a text and the others are figures."""
    return f"| {name} | {' | '.join(columns)} |\n| --- |" + " ---: |" * len(columns)


def figures_row(name: str, figures: list[float]) -> str:
    """Return a row of figures with four decimals."""
    return f"| {name} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |"
