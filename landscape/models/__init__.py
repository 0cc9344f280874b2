"""The six small models of the two-phase training paper, buildable by name and differentiable twice.

``build`` makes one of ``NAMES``; the classes take further settings.
"""

from __future__ import annotations

from landscape.models.mlp import MLP
from landscape.models.registry import NAMES, build
from landscape.models.vgg import VGG5
from landscape.models.vit import ViT

__all__ = ["MLP", "NAMES", "VGG5", "ViT", "build"]
