"""Results as pictures: every function draws a recorded history on matplotlib axes and runs no model."""

from landscape.plots.gradient_norm import plot_gradient_norm
from landscape.plots.loss_against_cost import plot_loss_against_cost
from landscape.plots.replay import plot_replay
from landscape.plots.svg import figure_svg

__all__ = ["figure_svg", "plot_gradient_norm", "plot_loss_against_cost", "plot_replay"]
