"""Two pictures of a recalibration, as PNG bytes. Apart: nothing else here loads matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from prefect_ruddr.errors import ExtraMissing
from prefect_ruddr.recalibration.decision import number
from prefect_ruddr.recalibration.result import Backtest, Recalibration, StageEstimate, StageForecast
from prefect_ruddr.recalibration.table import finding, stage_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_STAGES = 40
"""How many stages a picture shows: those that change, and those with most deals."""

MOST_PANELS = 6
"""How many pipelines the picture of reliability shows: those with most deals."""

WIDTH = 9.0
DOTS = 160
"""Inches and dots an inch: sharp where it is shown 900 pixels wide."""

_INK, _SOFT, _FAINT, _GRID = "#1f2933", "#616e7c", "#9aa5b1", "#e4e7eb"
_UP, _DOWN, _NEW = "#1d5fa8", "#c2540a", "#1d5fa8"
_BRIEFLY = {
    "inactive": "inactive",
    "no_deals": "no deals",
    "too_few": "too few known fates",
    "too_early": "too early to tell",
    "agrees": "agrees",
    "too_small": "change too small",
    "held": "held by the backtest",
}


_VERDICTS = {
    "better": "new numbers clearly better",
    "worse": "new numbers clearly worse",
    "no clear difference": "no clear difference",
}


def change_picture(recalibration: Recalibration) -> bytes:
    """Draw each open stage: its probability today, the proposed one, and the interval.

    Args:
        recalibration: What a recalibration found.

    Returns:
        A PNG, made for 900 pixels of width. Stages that are left alone are grey.

    Raises:
        ExtraMissing: When matplotlib is not installed.
    """
    shown, left_out = _most_telling(recalibration)
    pipelines: dict[str, list[StageEstimate]] = {}
    for stage in shown:
        pipelines.setdefault(f"{stage.pipeline} {stage.pipeline_id}", []).append(stage)
    lines = len(shown) + len(pipelines)
    height = 1.75 + 0.34 * max(lines, 1)
    figure = _figure(height)
    subtitle = (
        f"Open circle: today. Filled: proposed. Bar: where the share of deals that are won within"
        f" {recalibration.horizon_days} days\nlies with {recalibration.confidence:.0%} confidence."
        f" Grey: left alone. As of {recalibration.as_of:%d %B %Y}."
    )
    if left_out:
        subtitle += f" {left_out} more stages are in the table."
    _titles(figure, height, finding(recalibration) + _largest(recalibration), subtitle)
    axes = figure.add_axes((0.255, 0.42 / height, 0.455, (height - 1.4) / height))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(lines - 0.4, -0.6)
    _plain(axes)
    axes.set_xticks([tick / 5 for tick in range(6)])
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_yticks([])
    line = 0
    for members in pipelines.values():
        axes.text(-0.55, line, members[0].pipeline, **_text(9.5, weight="bold"))
        line += 1
        for stage in members:
            _stage_line(axes, stage, line)
            line += 1
    return _png(figure)


def reliability_picture(recalibration: Recalibration) -> bytes | None:
    """Draw for each pipeline with a backtest what was forecast against what happened.

    Args:
        recalibration: What a recalibration found.

    Returns:
        A PNG, made for 900 pixels of width; None where no pipeline has a backtest.

    Raises:
        ExtraMissing: When matplotlib is not installed.
    """
    tests = [test for test in recalibration.backtests if isinstance(test, Backtest)]
    tests.sort(key=lambda test: -sum(stage.deals for stage in test.stages))
    if not tests:
        return None
    shown = tests[:MOST_PANELS]
    columns = min(len(shown), 2)
    lines = -(-len(shown) // columns)
    side = 2.15 if columns == 2 else 4.5
    height = 0.85 + lines * (side + 1.25)
    figure = _figure(height)
    more = len(tests) - len(shown)
    subtitle = (
        "On the line, as many deals were won as forecast. Open circle: today's number. Filled:"
        " what would have been proposed\na horizon ago, where it differs. Size, and the number in"
        f" brackets: deals since. Upright line: {recalibration.confidence:.0%} interval."
    )
    if more:
        subtitle += f" {more} smaller pipelines are not shown."
    _titles(figure, height, _reliability_title(shown), subtitle)
    most = max(stage.deals for test in shown for stage in test.stages)
    for place, test in enumerate(shown):
        row, column = divmod(place, columns)
        bottom = height - 1.55 - row * (side + 1.25) - side
        axes = figure.add_axes((0.07 + column * 0.49, bottom / height, side / WIDTH, side / height))
        _reliability_panel(axes, test, most)
    return _png(figure)


def _stage_line(axes: Axes, stage: StageEstimate, line: int) -> None:
    changes = stage.proposed is not None
    colour = _FAINT if stage.proposed is None else _UP if stage.proposed > stage.old else _DOWN
    axes.text(-0.05, line, _cut(stage.name, 26), **_text(9.5, "right", _INK if changes else _SOFT))
    if stage.low is not None and stage.high is not None:
        axes.plot(
            [stage.low, stage.high], [line, line], color=colour, linewidth=9, alpha=0.22,
            solid_capstyle="round",
        )  # fmt: skip
    if stage.proposed is not None:
        axes.annotate(
            "", (stage.proposed, line), (stage.old, line),
            arrowprops={
                "arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "shrinkA": 4, "shrinkB": 4
            },
        )  # fmt: skip
        axes.plot(stage.proposed, line, "o", color=colour, markersize=8)
    axes.plot(
        stage.old, line, "o", color=colour, markerfacecolor="white", markersize=7,
        markeredgewidth=1.6,
    )  # fmt: skip
    if stage.proposed is not None:
        figures = f"{number(stage.old)} → {number(stage.proposed)}"
        axes.text(1.06, line, figures, **_text(9.5, colour=colour, weight="bold"))
        axes.text(1.40, line, f"{stage.entered} deals", **_text(8.5, colour=_SOFT))
    else:
        said = f"{number(stage.old)}   {_BRIEFLY[stage.decision]}"
        axes.text(1.06, line, said, **_text(9, colour=_SOFT))


def _reliability_panel(axes: Axes, test: Backtest, most: int) -> None:
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    _plain(axes)
    ticks = [tick / 4 for tick in range(5)]
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1)
    axes.set_xlabel("forecast", color=_SOFT, fontsize=9)
    axes.set_ylabel("won within the horizon", color=_SOFT, fontsize=9)
    same = all(stage.old == stage.new for stage in test.stages)
    verdict = "nothing would have changed" if same else _VERDICTS[test.verdict]
    brier = f"Brier {test.old.brier:.3f}" + f" → {test.new.brier:.3f}" * (not same)
    axes.set_title(_cut(test.pipeline, 30), **_title(10.5), loc="left", pad=20)
    axes.annotate(
        f"{verdict}; {brier}", (0, 1), (0, 10), xycoords="axes fraction",
        textcoords="offset points", **_text(8.5, colour=_SOFT),
    )  # fmt: skip
    for stage in test.stages:
        size = 18 + 120 * stage.deals / most
        axes.plot([stage.new] * 2, [stage.low, stage.high], color=_NEW, linewidth=1.2, alpha=0.6)
        if stage.old != stage.new:
            axes.plot([stage.old, stage.new], [stage.happened] * 2, ":", color=_SOFT, linewidth=1.2)
            axes.scatter(
                stage.old, stage.happened, s=size, facecolor="white", edgecolor=_SOFT,
                linewidth=1.4, zorder=3,
            )  # fmt: skip
        kept = stage.old == stage.new
        axes.scatter(
            stage.new, stage.happened, s=size, facecolor="white" if kept else _NEW,
            edgecolor=_SOFT if kept else "white", linewidth=1.4 if kept else 0.8, zorder=4,
        )  # fmt: skip
    for stage, height in _spread(test.stages):
        axes.annotate(
            f"{_cut(stage.name, 17)} ({stage.deals})",
            (max(stage.old, stage.new), stage.happened), (1.07, height),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": _FAINT, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 7
            },
            **_text(8.5),
        )  # fmt: skip


def _spread(stages: Sequence[StageForecast], apart: float = 0.075) -> Iterator[tuple[Any, float]]:
    """Yield each stage with the height of its label: near its point, and none over another."""
    ordered = sorted(stages, key=lambda stage: stage.happened)
    heights: list[float] = []
    for stage in ordered:
        heights.append(max(stage.happened, heights[-1] + apart if heights else 0.0))
    over = max(heights[-1] - 1.0, 0.0) if heights else 0.0
    for place in reversed(range(len(heights))):
        ceiling = heights[place + 1] - apart if place + 1 < len(heights) else 1.0
        heights[place] = min(heights[place], ceiling) if over else heights[place]
    yield from zip(ordered, heights, strict=True)


def _most_telling(recalibration: Recalibration) -> tuple[list[StageEstimate], int]:
    """Return the open stages to show, in their order, and how many there are besides."""
    open_stages = [stage for stage in recalibration.stages if stage.decision != "fixed"]
    ranked = sorted(open_stages, key=lambda stage: (stage.proposed is None, -stage.entered))
    chosen = {stage.stage_id for stage in ranked[:MOST_STAGES]}
    shown = [stage for stage in open_stages if stage.stage_id in chosen]
    return shown, len(open_stages) - len(shown)


def _largest(recalibration: Recalibration) -> str:
    changes = [
        (abs(stage.proposed - stage.old), label, f"{number(stage.old)} → {number(stage.proposed)}")
        for stage, label in zip(recalibration.stages, stage_labels(recalibration), strict=True)
        if stage.proposed is not None
    ]
    if not changes:
        return ""
    _, label, figures = max(changes)
    return f"; {_cut(label, 27)} most, {figures}"


def _reliability_title(tests: Sequence[Backtest]) -> str:
    better = sum(test.verdict == "better" for test in tests)
    worse = sum(test.verdict == "worse" for test in tests)
    where = f" in {worse or better} of {len(tests)} pipelines" if len(tests) > 1 else ""
    if worse:
        return f"The new numbers would have done worse{where}"
    if better:
        return f"The new numbers would have been closer to the truth{where}"
    return "Old and new numbers come equally close to what happened"


def _figure(height: float) -> Figure:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra
    except ImportError:
        raise ExtraMissing(
            "Pictures need matplotlib: pip install 'prefect-ruddr[recalibration]'"
        ) from None
    return Figure(figsize=(WIDTH, height), dpi=DOTS, facecolor="white")


def _titles(figure: Figure, height: float, title: str, subtitle: str) -> None:
    size = min(14, 14 * 64 / len(title))
    figure.text(0.02, 1 - 0.16 / height, title, va="top", **_title(size))
    figure.text(
        0.02, 1 - 0.50 / height, subtitle, va="top", color=_SOFT, fontsize=9, linespacing=1.45
    )


def _plain(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=_SOFT)
    axes.set_axisbelow(True)


def _title(size: float) -> dict[str, Any]:
    return {"color": _INK, "fontsize": size, "fontweight": "bold"}


def _text(
    size: float, align: str = "left", colour: str = _INK, weight: str = "normal"
) -> dict[str, Any]:
    return {"fontsize": size, "ha": align, "va": "center", "color": colour, "fontweight": weight}


def _cut(text: str, most: int) -> str:
    # A dollar sign would begin a formula.
    return (text if len(text) <= most else f"{text[: most - 1]}…").replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
