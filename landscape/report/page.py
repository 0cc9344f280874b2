"""The pages of reports: one environment for their templates, and what these need to show numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from landscape.report.words import amount, epochs, metric, metric_name, number, unbroken
from landscape.tracking.history import from_json_value

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "training.html.j2"
#: What the parts of the cost are.
PURPOSES = {
    "training": "steps, line searches included",
    "probing": "recording losses and gradient norms along the way",
    "reporting": "evaluations at the start, at swaps and at the end; no budget pays for them",
}


def template_environment() -> Environment:
    """What every page is filled with: all text is escaped, a missing name is an error, numbers have filters."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("landscape.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        amount=lambda value: amount(from_json_value(value)),
        number=lambda value: number(from_json_value(value)),
        metric=lambda value, name: metric(name, from_json_value(value)),
        metric_name=metric_name,
        commands=commands,
    )
    return environment


def page(document: Mapping[str, Any], *, loss_figure: str, norm_figure: str, norm_words: str) -> str:
    """Fill the template of a training run's report.

    Parameters
    ----------
    document : mapping
        See :func:`landscape.report.training_report.report_document`. Every text in it is escaped.
    loss_figure, norm_figure : str
        ``<svg>`` elements.
    norm_words : str
        Which norm the second figure shows.

    Returns
    -------
    str
    """
    from markupsafe import Markup

    names = list(dict.fromkeys(name for item in document["evaluations"] for name in item["values"]))
    return (
        template_environment()
        .get_template(TEMPLATE)
        .render(
            document=document,
            metrics=names,
            purposes=PURPOSES,
            epochs=epochs,
            loss_figure=Markup(loss_figure),
            norm_figure=Markup(norm_figure),
            norm_words=norm_words,
        )
    )


def commands(text: str) -> Markup:
    """What stands between backticks as code whose words are not broken at their dashes, the rest escaped."""
    from markupsafe import Markup, escape

    pieces = [_command(piece) if index % 2 else escape(piece) for index, piece in enumerate(unbroken(text).split("`"))]
    return Markup("").join(pieces)


def _command(text: str) -> Markup:
    from markupsafe import Markup

    words = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in text.split(" "))
    return Markup("<code>{}</code>").format(words)
