"""ViT: a small vision transformer, whole or with parts left out."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from landscape.models.shapes import check_images, check_sizes


class ViT(nn.Module):
    r"""Vision transformer of Hrycej et al. (2025), with the parts that the paper leaves out as switches.

    Parameters
    ----------
    channels, num_classes : int
        c and M.
    image_size : int, default 32
        Height and width s of the images; a multiple of ``patch_size``.
    patch_size : int, default 8
        Height and width of a patch; there are (s / patch_size)² tokens.
    width : int, default 64
        Numbers in a token; even, and a multiple of ``num_heads``.
    num_heads, num_layers : int, default 4 and 3
        Attention heads in a layer; encoder layers.
    mlp : bool, default True
        Whether each layer has its MLP (width -> 4 width -> width, exact GELU).
    shared_key_query : bool, default False
        Whether one matrix serves keys and queries.
    value_output : bool, default True
        Whether attention has the matrices W_v and W_o. Without them each head averages its own slice of the tokens.

    Raises
    ------
    ValueError
        If a size is less than 1 or does not divide what it must; in ``forward``, if the images have another shape.

    Notes
    -----
    Patches are projected without bias and get fixed sinusoids added (Vaswani et al. 2017, section 3.5). Each layer maps
    the tokens x to

    .. math:: y = x + \mathrm{attention}(\mathrm{norm}_1(x)), \qquad z = y + \mathrm{mlp}(\mathrm{norm}_2(y)),

    with :math:`\mathrm{softmax}(q k^\top / \sqrt{d})\, v` in each head, d = width / num_heads, and no biases in
    attention. Without the MLP, mlp is the identity: the norm and the residual connection stay, as the parameter counts
    that follow from the paper's ratios Q require. After the last layer come a norm, the mean over the tokens and a
    linear layer with bias. For MNIST the whole model has 154,058 parameters.

    Where the paper is silent this is our choice: the norm before each part rather than after it, the place of the
    second norm without MLP, and the initial weights, which are torch's own for each layer.

    Attention is written as two matrix products and a softmax on purpose: fused attention has no second derivative.

    Examples
    --------
    >>> import torch
    >>> model = ViT(channels=1, num_classes=10, mlp=False, shared_key_query=True, value_output=False)
    >>> sum(parameter.numel() for parameter in model.parameters())
    17930
    >>> tuple(model(torch.zeros(2, 1, 32, 32)).shape)
    (2, 10)
    """

    positions: Tensor

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        image_size: int = 32,
        patch_size: int = 8,
        width: int = 64,
        num_heads: int = 4,
        num_layers: int = 3,
        mlp: bool = True,
        shared_key_query: bool = False,
        value_output: bool = True,
    ) -> None:
        check_sizes(channels=channels, num_classes=num_classes, image_size=image_size, patch_size=patch_size)
        check_sizes(width=width, num_heads=num_heads, num_layers=num_layers)
        if image_size % patch_size:
            next_size = math.ceil(image_size / patch_size) * patch_size
            raise ValueError(
                f"image_size={image_size}; ViT cuts images into patches of {patch_size} x {patch_size}, so it must be a "
                f"multiple of {patch_size}. Pad the images: load(..., pad_to={next_size})."
            )
        if width % num_heads or width % 2:
            raise ValueError(f"width={width}; it must be even and a multiple of num_heads={num_heads}.")
        super().__init__()
        self.channels, self.image_size, self.patch_size = channels, image_size, patch_size
        self.patches = nn.Linear(channels * patch_size**2, width, bias=False)
        # Not part of the state dict: it follows from the sizes.
        num_tokens = (image_size // patch_size) ** 2
        self.register_buffer("positions", sinusoidal_positions(num_tokens, width), persistent=False)
        self.layers = nn.Sequential(
            *(EncoderLayer(width, num_heads, mlp, shared_key_query, value_output) for _ in range(num_layers))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, c, s, s) to outputs (N, M)."""
        check_images("ViT", images, self.channels, self.image_size)
        tokens = self.patches(cut_into_patches(images, self.patch_size)) + self.positions
        outputs: Tensor = self.head(self.norm(self.layers(tokens)).mean(dim=1))
        return outputs


class EncoderLayer(nn.Module):
    """Attention, then the MLP or nothing, each behind a norm and beside a residual connection."""

    def __init__(self, width: int, num_heads: int, mlp: bool, shared_key_query: bool, value_output: bool) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads, shared_key_query, value_output)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp: nn.Module = nn.Identity()
        if mlp:
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T, width) to tokens (N, T, width)."""
        tokens = tokens + self.attention(self.attention_norm(tokens))
        updated: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return updated


class Attention(nn.Module):
    """Self-attention with several heads, without biases, by plain matrix products."""

    def __init__(self, width: int, num_heads: int, shared_key_query: bool, value_output: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = None if shared_key_query else nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False) if value_output else None
        self.output = nn.Linear(width, width, bias=False) if value_output else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T, width) to tokens (N, T, width)."""
        queries = self._split(self.query(tokens))
        keys = queries if self.key is None else self._split(self.key(tokens))
        values = self._split(tokens if self.value is None else self.value(tokens))
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        mixed = (torch.softmax(scores, dim=-1) @ values).transpose(1, 2).flatten(2)
        if self.output is None:
            return mixed
        outputs: Tensor = self.output(mixed)
        return outputs

    def _split(self, tokens: Tensor) -> Tensor:
        """Give each head its slice: (N, T, width) to (N, heads, T, width / heads)."""
        num_images, num_tokens, width = tokens.shape
        return tokens.reshape(num_images, num_tokens, self.num_heads, width // self.num_heads).transpose(1, 2)


def cut_into_patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut images (N, c, s, s) into flat patches (N, T, c patch_size²), row by row."""
    num_images, channels, size, _ = images.shape
    rows = size // patch_size
    patches = images.reshape(num_images, channels, rows, patch_size, rows, patch_size)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(num_images, rows**2, channels * patch_size**2)


def sinusoidal_positions(num_tokens: int, width: int) -> Tensor:
    """Tell token t from the others by sines and cosines of t / 10000^(2 i / width) (Vaswani et al. 2017, section 3.5)."""
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    angles = torch.arange(num_tokens, dtype=torch.float64)[:, None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).to(torch.get_default_dtype())
