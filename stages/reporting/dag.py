"""A picture of the pipeline for the report.

A stage cannot depend on dvc.yaml, so the graph stands here once more, without the edges that
follow from others; a test compares it with what DVC reads from dvc.yaml.
"""

from html import escape

# The column that a stage is drawn in, and the stages that it needs first.
STAGES: dict[str, tuple[int, list[str]]] = {
    "source": (3, []),
    "download": (3, ["source"]),
    "clean": (3, ["download"]),
    "positives": (3, ["clean"]),
    "genre_features": (5, ["clean"]),
    "time_split": (3, ["positives"]),
    "histories": (3, ["time_split"]),
    "dislikes": (4, ["time_split"]),
    "popularity": (2, ["histories"]),
    "item_knn": (0, ["histories"]),
    "ease": (1, ["histories"]),
    "train_retrieval": (3, ["histories", "genre_features"]),
    "embeddings": (3, ["train_retrieval"]),
    "export_savedmodel": (5, ["train_retrieval"]),
    "faiss_index": (3, ["embeddings", "popularity"]),
    "candidates": (3, ["faiss_index"]),
    "fusion": (3, ["candidates", "item_knn", "ease"]),
    "ranker_data": (3, ["fusion", "dislikes"]),
    "train_ranker": (3, ["ranker_data"]),
    "rerank": (3, ["train_ranker"]),
    "export": (4, ["train_ranker"]),
    "evaluate": (3, ["rerank"]),
    "leaderboard": (3, ["evaluate"]),
    "plot_tables": (3, ["leaderboard"]),
    "report": (3, ["plot_tables"]),
    "plots_template": (5, []),
}
WIDTH, HEIGHT = 126, 26  # of a box, in pixels
COLUMN, ROW = 138, 46  # from one box to the next


def rows(stages: dict[str, tuple[int, list[str]]]) -> dict[str, int]:
    """The row of each stage: one below the lowest of those that it needs, 0 without any."""
    found: dict[str, int] = {}
    for name, (_, needs) in stages.items():
        found[name] = 1 + max((found[need] for need in needs), default=-1)
    return found


def draw_dag(stages: dict[str, tuple[int, list[str]]], times: dict[str, int]) -> str:
    """The graph as inline SVG, top to bottom.

    Args:
        stages: Column and needs by stage; a stage stands behind those that it needs.
        times: How many variants a stage has, where it has more than one.
    """
    place = {
        name: (stages[name][0] * COLUMN + 2, row * ROW + 2) for name, row in rows(stages).items()
    }
    lines, boxes = [], []
    for name, (_, needs) in stages.items():
        x, y = place[name]
        for need in needs:
            left, top = place[need][0] + WIDTH // 2, place[need][1] + HEIGHT
            # Straight down in its own column, then over to the stage in the gap above it.
            turn, end = y - (ROW - HEIGHT), x + WIDTH // 2
            middle = (turn + y) // 2
            curve = f"C{left} {middle} {end} {middle} {end} {y}"
            lines.append(f'<path d="M{left} {top}V{turn}{curve}"/>')
        label = escape(f"{name} x{times[name]}" if name in times else name)
        boxes.append(
            f"<g><title>{label}{' needs ' + escape(', '.join(needs)) if needs else ''}</title>"
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
            f'<text x="{x + WIDTH // 2}" y="{y + 17}">{label}</text></g>'
        )
    width = max(x for x, _ in place.values()) + WIDTH + 2
    height = max(y for _, y in place.values()) + HEIGHT + 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dag" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="The stages of the pipeline and what each needs" '
        f'style="max-width:{width}px">{"".join(lines)}{"".join(boxes)}</svg>'
    )
