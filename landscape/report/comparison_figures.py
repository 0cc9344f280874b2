"""The figures of a comparison's page, each with what it shows."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from landscape.comparison.comparison import Comparison
from landscape.plots import figure_svg
from landscape.plots.arm_curves import plot_curves
from landscape.plots.profiles import plot_profiles, plot_profiles_across
from landscape.plots.regret import plot_regret
from landscape.plots.response import plot_response
from landscape.plots.responses import plot_responses
from landscape.report.diagnosis_figures import Picture


def comparison_pictures(comparison: Comparison, finisher: str) -> list[Picture]:
    """What one finisher's figures show, in their order."""
    return [
        _picture(
            "When to swap",
            plot_response(comparison, finisher),
            "The loss at the end against the swap epoch: median over the seeds with its interval, thin lines for seeds. 0 is "
            "no first phase, never no second one. Circles are policies, at the medians of their swap epochs and losses; one "
            "above the line has paid for its measurements. Green: other ways of spending the same work.",
        ),
        _picture(
            "Regret of each policy",
            plot_regret(comparison, finisher),
            "How much higher than the best fixed epoch or never of the same seed a policy ends: median, interval, and a "
            "small dot for each seed. Negative where it ended below all of them. The best fixed epoch is chosen on the other "
            "seeds, so it has regrets of its own. Grey never swapped, or could not be asked.",
            is_tall=True,
        ),
        _picture(
            "Performance profiles",
            plot_profiles(comparison, finisher),
            "On which share of the seeds each ends within a factor of the best of all policies and fixed epochs; further to "
            "the upper left is better. The best fixed epoch is known only afterwards. A curve "
            "that stays below 100 % has lost seeds, or lies beyond the edge.",
        ),
        _picture(
            "Loss against work",
            plot_curves(comparison, finisher),
            "Training loss against all work, measurements included: the median over the seeds at each amount of work. Controls "
            "are green or grey.",
        ),
    ]


def suite_pictures(comparisons: Mapping[str, Comparison], finisher: str | None) -> list[Picture]:
    """What the figures over several tasks show."""
    return [
        _picture(
            "When to swap, task by task",
            plot_responses(comparisons, finisher),
            "The loss at the end against the swap epoch, medians over the seeds; dashed is never swapping. A criterion "
            "is worth something where the curve is not flat and its circle lies near the lowest point.",
            is_tall=len(comparisons) > 4,
        ),
        _picture(
            "Performance profiles over all tasks",
            plot_profiles_across(comparisons, finisher),
            "On which share of all pairs of task and seed each ends within a factor of the best arm. The policies are those "
            "that were compared on every task and are nearest to the best on the whole.",
        ),
    ]


def _picture(title: str, figure: Any, caption: str, *, is_tall: bool = False) -> Picture:
    from markupsafe import Markup

    with warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes; it stands in the tables, too.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        return Picture(title, Markup(slim(figure_svg(figure, f"{title}. {caption}"))), caption, is_tall)


def slim(svg: str) -> str:
    r"""An element without what nobody sees: indentation, comments, hundredths of a point, long names of letters.

    Examples
    --------
    >>> slim('<g>\n   <!-- a --><use href="#f1-DejaVuSans-44" transform="translate(1.23456 0)"/>\n</g>')
    '<g><use href="#f1-g44" transform="translate(1.23 0)"/></g>'
    """
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r">\s+<", "><", svg)
    svg = re.sub(r"(?<=-)DejaVuSans-(Bold-)?", lambda found: "b" if found.group(1) else "g", svg)
    svg = re.sub(r'<g( clip-path="[^"]*")?>((?:<use [^>]*/>){2,})</g>', _share_style, svg)
    return re.sub(r'translate\([^)]*\)|\s[xy]="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found.group()), svg)


def _share_style(found: re.Match[str]) -> str:
    """A group of marks of one style says it once."""
    marks = found.group(2)
    styles = re.findall(r' style="[^"]*"', marks)
    if len(styles) != marks.count("<use ") or len(set(styles)) != 1:
        return found.group()
    return f"<g{found.group(1) or ''}{styles[0]}>{marks.replace(styles[0], '')}</g>"
