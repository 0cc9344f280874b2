"""The figures of a diagnosis' page, in their order, each with what it shows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from landscape.diagnosis.diagnosis import Diagnosis
from landscape.plots import figure_svg, plot_gradient_norm, plot_loss_against_cost
from landscape.plots.batch_noise import plot_batch_noise
from landscape.plots.diagnosed import drawn
from landscape.plots.directions import plot_directional_curvatures
from landscape.plots.extreme_eigenvalues import plot_extreme_eigenvalues
from landscape.plots.gradient_norm import NORM_WORDS, recorded_norm
from landscape.plots.layers import plot_layer_gradients, plot_layer_traces
from landscape.plots.nodes import plot_gradient_spectrum
from landscape.plots.peak import mark_peak
from landscape.plots.spectral_density import plot_spectral_density
from landscape.tracking.history import History

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Parameters
    ----------
    title : str
    svg : Markup
        The element.
    caption : str
        What it shows and how to read it.
    is_tall : bool
        Whether two others fit beside it.
    """

    title: str
    svg: Markup
    caption: str
    is_tall: bool = False


@dataclass(frozen=True)
class PictureSection:
    """Figures that belong together.

    Parameters
    ----------
    title : str
    key : str
        "curves", "spectrum", "directions" or "layers".
    pictures : tuple of Picture
    """

    title: str
    key: str
    pictures: tuple[Picture, ...]


def figures_of(diagnoses: Sequence[Diagnosis], names: Sequence[str], history: History | None) -> list[PictureSection]:
    """The sections that have something to show.

    Parameters
    ----------
    diagnoses : sequence of Diagnosis
    names : sequence of str
        Of the diagnoses, each another one.
    history : History or None
        Of the run that all come from; else each one's own is drawn.
    """
    named = [replace(diagnosis, name=name) for diagnosis, name in zip(diagnoses, names, strict=True)]
    sections = [
        PictureSection("Curves of the run", "curves", tuple(_curves(named, history))),
        PictureSection("Spectrum", "spectrum", tuple(_spectrum(named))),
        PictureSection("Directions and noise", "directions", tuple(_directions(named))),
        PictureSection("Layers", "layers", tuple(_layers(named))),
    ]
    return [section for section in sections if section.pictures]


def _picture(title: str, figure: Any, caption: str, *, is_tall: bool = False) -> Picture:
    from markupsafe import Markup

    with warnings.catch_warnings():
        # A name in letters that the font lacks is drawn with boxes; it stands in the tables, too.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        return Picture(title, Markup(figure_svg(figure, f"{title}. {caption}")), caption, is_tall)


def _curves(diagnoses: Sequence[Diagnosis], history: History | None) -> list[Picture]:
    runs = [("", history)] if history is not None else [(d.name, d.history) for d in diagnoses if d.history is not None]
    pictures = []
    for name, run in runs:
        if run is None or not len(run):
            continue
        of = f" of {name}" if name and len(runs) > 1 else ""
        norm = recorded_norm(run)
        norms = plot_gradient_norm(run, norm=norm)  # type: ignore[arg-type]
        peak = mark_peak(norms, run, norm)
        told = f" It is greatest after epoch {peak}." if peak is not None else ""
        pictures += [
            _picture(
                f"Loss against work{of}",
                plot_loss_against_cost(run).get_figure(root=True),
                "The training loss against all work: steps, line searches and recording. Diamonds are swaps between phases.",
            ),
            _picture(
                f"Gradient norm against loss{of}",
                norms.get_figure(root=True),
                f"The {NORM_WORDS[norm]}; training runs from right to left.{told} A peak shows at most where the curvature "
                "along the gradient changes its sign.",
            ),
        ]
    return pictures


def _spectrum(diagnoses: Sequence[Diagnosis]) -> list[Picture]:
    pictures = []
    if drawn(diagnoses, "lambda_min") or drawn(diagnoses, "lambda_max"):
        pictures.append(
            _picture(
                "Extreme eigenvalues",
                plot_extreme_eigenvalues(diagnoses).get_figure(root=True),
                "Ritz values (triangles) with the intervals that the true eigenvalues lie in; an arrow is an end that is not "
                "known. The thin upright stroke is the tolerance below which an eigenvalue counts as negative.",
            )
        )
    if any(item.finding.details.get("nodes") for item in drawn(diagnoses, "density")):
        pictures.append(
            _picture(
                "Spectral density",
                plot_spectral_density(diagnoses),
                "How the eigenvalues are distributed, negative ones hatched; below, the quadrature nodes that the curve was "
                "smoothed from, with their weights. Dotted, beyond the outermost nodes, it is smoothing alone. The shaded band "
                "is what the certificate leaves for lambda_min.",
                is_tall=True,
            )
        )
    if any(item.finding.details.get("nodes") for item in drawn(diagnoses, "gradient_spectrum")):
        pictures.append(
            _picture(
                "Where the gradient points",
                plot_gradient_spectrum(diagnoses),
                "How the squared gradient norm is spread over curvatures, from Lanczos steps that begin with the gradient; "
                "triangles are negative ones.",
            )
        )
    return pictures


def _directions(diagnoses: Sequence[Diagnosis]) -> list[Picture]:
    pictures = []
    if any(item.finding.details.get("directions") for item in drawn(diagnoses, "directional")):
        pictures.append(
            _picture(
                "Curvature along directions",
                plot_directional_curvatures(diagnoses).get_figure(root=True),
                "Along the gradient and along random directions, with one standard error over samples.",
            )
        )
    if any(item.finding.details.get("rows") for item in drawn(diagnoses, "noise_floor")):
        pictures.append(
            _picture(
                "Noise of mini-batches",
                plot_batch_noise(diagnoses).get_figure(root=True),
                "The standard error of a mini-batch gradient as a share of the full gradient's norm. Above 1 a single step "
                "follows noise more than gradient.",
            )
        )
    return pictures


def _layers(diagnoses: Sequence[Diagnosis]) -> list[Picture]:
    if not any(item.finding.details.get("rows") for item in drawn(diagnoses, "layers")):
        return []
    return [
        _picture(
            "Trace of each layer's block",
            plot_layer_traces(diagnoses).get_figure(root=True),
            "The sum of the eigenvalues of each layer's own block, with one standard error over random vectors; hollow bars "
            "cannot be told from 0.",
        ),
        _picture(
            "Gradient norm of each layer",
            plot_layer_gradients(diagnoses).get_figure(root=True),
            "The length of each layer's part of the gradient over all data.",
        ),
    ]
