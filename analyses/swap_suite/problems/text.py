"""Text: a small causal transformer predicts the next character of the names of Unicode's characters.

The seed decides the initial weights, and which pieces of the text are trained on and which are held out, together.
"""

from __future__ import annotations

import functools
import math
import unicodedata

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import landscape as ls
from landscape.models.vit import sinusoidal_positions
from problems.building import divided, seeded
from problems.devices import best_device

Problems = tuple[ls.Problem, ls.Problem]

#: Names are of characters below this one: alphabets, symbols and signs, without the ideographs, whose names are numbers.
FIRST_LEFT_OUT = 0x3100
ALPHABET = "\n -0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def names(
    seed: int,
    *,
    num_train: int,
    num_validation: int,
    length: int = 32,
    width: int = 32,
    num_heads: int = 2,
    num_blocks: int = 1,
    batch_size: int | None = None,
    device: str = "cpu",
) -> Problems:
    """A causal transformer on pieces of text of one length, chosen by the seed; the cross-entropy of every next character.

    Raises
    ------
    ValueError
        If more pieces are asked for than the text has.
    """
    pieces = encode(text_of_names()).unfold(0, length + 1, length)  # a piece's last character begins the next one
    available = f"the text has {len(pieces)} pieces of {length} characters. Ask for fewer, or for shorter ones."
    train, held_out = divided(len(pieces), num_train, num_validation, seed, available)
    make = functools.partial(CausalTransformer, len(ALPHABET), length, width, num_heads, num_blocks)
    place = best_device(device)
    model = seeded(make, seed).to(place)

    def problem(chosen: Tensor) -> ls.Problem:
        characters = pieces[chosen].to(place)
        return ls.Problem(model, F.cross_entropy, (characters[:, :-1], characters[:, 1:]), batch_size=batch_size)

    return problem(train), problem(held_out)


def text_of_names() -> str:
    """The names of 8,205 characters, one a line, in the order of their code points.

    Notes
    -----
    From the frozen Unicode 3.2 that every Python carries beside its own: the text is the same in all versions (220,007
    characters), needs no file, and has something to learn: "LATIN SMALL LETTER U WITH CIRCUMFLEX BELOW".
    """
    unicode = unicodedata.ucd_3_2_0
    every = (unicode.name(chr(number), "") for number in range(FIRST_LEFT_OUT))
    return "\n".join(name for name in every if name)


def encode(text: str) -> Tensor:
    """The places of the characters in ``ALPHABET``, shape (K,), int64."""
    places = {character: place for place, character in enumerate(ALPHABET)}
    return torch.tensor([places[character] for character in text])


class CausalTransformer(nn.Module):
    """Predicts at every place the next character from those up to there.

    Parameters
    ----------
    num_characters, length : int
        Size V of the alphabet; the longest input T.
    width, num_heads, num_blocks : int
        As in a GPT (Radford et al. 2019): norms before attention and before the MLP, a last norm, a linear layer.

    Notes
    -----
    Positions are fixed sinusoids. Attention is two matrix products and a softmax on purpose: fused attention has no second
    derivative. Maps (N, T) of int64 to logits (N, V, T), as ``cross_entropy`` takes them with targets (N, T).
    """

    positions: Tensor
    hidden: Tensor

    def __init__(self, num_characters: int, length: int, width: int, num_heads: int, num_blocks: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_characters, width)
        self.blocks = nn.Sequential(*(Block(width, num_heads) for _ in range(num_blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_characters)
        self.register_buffer("positions", sinusoidal_positions(length, width), persistent=False)

    def forward(self, characters: Tensor) -> Tensor:
        tokens = self.embedding(characters) + self.positions[: characters.shape[1]]
        logits: Tensor = self.head(self.norm(self.blocks(tokens)))
        return logits.transpose(1, 2)


class Block(nn.Module):
    """Causal attention, then an MLP of four times the width, each behind a norm and beside a residual connection."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attend(self.attention_norm(tokens))
        updated: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return updated

    def _attend(self, tokens: Tensor) -> Tensor:
        queries, keys, values = (self._split(part(tokens)) for part in (self.query, self.key, self.value))
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        length = tokens.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        mixed = torch.softmax(scores.masked_fill(later, -torch.inf), dim=-1) @ values
        outputs: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return outputs

    def _split(self, tokens: Tensor) -> Tensor:
        """Give each head its slice: (N, T, width) to (N, heads, T, width / heads)."""
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
