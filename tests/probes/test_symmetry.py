"""Symmetries that are found, those that must not be, and what the gradient then says about the Hessian."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.models.mlp import MLP
from landscape.models.vgg import VGG5
from landscape.models.vit import ViT
from landscape.probes.symmetry.directions import least_curved
from landscape.probes.symmetry.symmetry import Symmetry, symmetries, witness
from landscape.problem import Problem
from landscape.vectors import dot, norm


def hessian_product(problem: Problem, params: Tensor, vector: Tensor) -> Tensor:
    return problem.hessian(params) @ vector


def dense_hessian(problem: Problem, params: Tensor) -> Tensor:
    return problem.hessian(params).to_dense()


def problem_of(model: nn.Module, *shape: int, outputs: int = 3, samples: int = 6, mode: str = "eval") -> Problem:
    generator = torch.Generator().manual_seed(7)
    model.double()
    for parameter in model.parameters():  # biases and gains away from 0 and 1, so that nothing holds by accident
        parameter.data = parameter.detach() + 0.2 * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
    inputs = torch.randn(samples, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randn(samples, outputs, generator=generator, dtype=torch.float64)
    return Problem(model, F.mse_loss, (inputs, targets), mode=mode)


def small_vit(**switches: bool) -> nn.Module:
    return ViT(channels=1, num_classes=3, image_size=8, patch_size=4, width=8, num_heads=2, num_layers=1, **switches)


class TorchAttention(nn.Module):
    """``nn.MultiheadAttention`` behind a norm, with one packed matrix or three."""

    def __init__(self, *, separate: bool = False, extra_token: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        widths = {"kdim": 5, "vdim": 4} if separate else {}
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, add_bias_kv=extra_token, **widths)
        self.separate = separate

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        key, value = (tokens[..., :5], tokens[..., :4]) if self.separate else (tokens, tokens)
        return self.attention(tokens, key, value, need_weights=False)[0].tanh().mean(1)[:, :3]


class GroupedQueryAttention(nn.Module):
    """Four query heads that share two key heads; rotary positions and normalised queries and keys as switches."""

    def __init__(self, *, rotary: str | None = None, normalised: bool = False) -> None:
        super().__init__()
        self.num_heads, self.rotary = 4, rotary
        self.norm = nn.RMSNorm(6, eps=1e-5)
        self.q_proj, self.o_proj = nn.Linear(6, 16), nn.Linear(16, 3)
        self.k_proj, self.v_proj = nn.Linear(6, 8), nn.Linear(6, 8)
        self.q_norm = nn.RMSNorm(4, eps=1e-5) if normalised else nn.Identity()
        self.k_norm = nn.RMSNorm(4, eps=1e-5) if normalised else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm(tokens)
        num, length, _ = tokens.shape
        queries = self.q_norm(self.q_proj(tokens).view(num, length, 4, 4))
        keys, values = self.k_norm(self.k_proj(tokens).view(num, length, 2, 4)), self.v_proj(tokens)
        queries, keys = self._turn(queries), self._turn(keys).repeat_interleave(2, dim=2)
        values = values.view(num, length, 2, 4).repeat_interleave(2, dim=2)
        scores = torch.einsum("bihd,bjhd->bhij", queries, keys) / 2
        return self.o_proj(torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), values).flatten(2)).mean(1)

    def _turn(self, x: Tensor) -> Tensor:
        if self.rotary is None:
            return x
        angles = torch.outer(torch.arange(x.shape[1]), torch.tensor([1.0, 0.1])).to(x)[None, :, None]
        c, s = angles.cos(), angles.sin()
        a, b = (x[..., :2], x[..., 2:]) if self.rotary == "half_planes" else (x[..., ::2], x[..., 1::2])
        turned = (a * c - b * s, a * s + b * c)
        return torch.cat(turned, -1) if self.rotary == "half_planes" else torch.stack(turned, -1).flatten(-2)


class BertLayer(nn.Module):
    """BERT's names: attention.self.query, attention.output.dense."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Module()
        inner = nn.Module()
        inner.num_attention_heads = 2
        inner.query, inner.key, inner.value = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        output = nn.Module()
        output.dense, output.LayerNorm = nn.Linear(6, 6), nn.LayerNorm(6)
        self.attention.self, self.attention.output = inner, output

    def forward(self, x: Tensor) -> Tensor:
        inner, output = self.attention.self, self.attention.output
        q, k, v = (f(x).unflatten(-1, (2, 3)).transpose(1, 2) for f in (inner.query, inner.key, inner.value))
        mixed = ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return output.LayerNorm(x + output.dense(mixed)).mean(1)[:, :3]


class Conv1D(nn.Module):
    """GPT-2's linear layer: the weight is (in, out)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) / 2), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class PackedAttention(nn.Module):
    """GPT-2's names and packing; with ``linear`` those of timm."""

    def __init__(self, *, linear: bool = False) -> None:
        super().__init__()
        self.num_heads, self.linear = 2, linear
        self.ln = nn.LayerNorm(6)
        if linear:
            self.qkv, self.proj = nn.Linear(6, 18), nn.Linear(6, 3)
        else:
            self.c_attn, self.c_proj = Conv1D(6, 18), Conv1D(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        pack, project = (self.qkv, self.proj) if self.linear else (self.c_attn, self.c_proj)
        q, k, v = (part.unflatten(-1, (2, 3)).transpose(1, 2) for part in pack(self.ln(x)).split(6, -1))
        return project(((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2)).mean(1)


def relu_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 5), nn.LeakyReLU(0.1), nn.Dropout(0.3), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)
    )


def small_cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 2, groups=3), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(3, 3)),
    )


def transposed_cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.ConvTranspose2d(1, 3, 2), nn.PReLU(), nn.ConvTranspose2d(3, 2, 2, stride=2), nn.ReLU(), nn.Flatten()),
        nn.Linear(72, 3),
    )


def normalised_by(norm_layer: nn.Module) -> nn.Module:
    """A layer that only a norm reads, and one that reads the norm."""
    return nn.Sequential(nn.Linear(4, 6), norm_layer, nn.Tanh(), nn.Linear(6, 3))


PROBLEMS = {
    "vit": lambda: problem_of(small_vit(), 1, 8, 8),
    "torch_attention": lambda: problem_of(TorchAttention(), 5, 6),
    "torch_attention_separate": lambda: problem_of(TorchAttention(separate=True), 5, 6),
    "torch_attention_extra_token": lambda: problem_of(TorchAttention(extra_token=True), 5, 6),
    "grouped_queries": lambda: problem_of(GroupedQueryAttention(), 5, 6),
    "rotary_halves": lambda: problem_of(GroupedQueryAttention(rotary="half_planes"), 5, 6),
    "rotary_neighbours": lambda: problem_of(GroupedQueryAttention(rotary="neighbour_planes"), 5, 6),
    "bert": lambda: problem_of(BertLayer(), 5, 6),
    "gpt2": lambda: problem_of(PackedAttention(), 5, 6),
    "timm": lambda: problem_of(PackedAttention(linear=True), 5, 6),
    "relu_mlp": lambda: problem_of(relu_mlp(), 4),
    "cnn": lambda: problem_of(small_cnn(), 1, 8, 8),
    "transposed_cnn": lambda: problem_of(transposed_cnn(), 1, 2, 2),
    "layer_norm": lambda: problem_of(normalised_by(nn.LayerNorm(6, eps=0.0)), 4),
    "group_norm": lambda: problem_of(normalised_by(nn.GroupNorm(2, 6, eps=0.0)), 4),
}


def kinds(found: tuple[Symmetry, ...]) -> list[tuple[str, str]]:
    return sorted((symmetry.kind, symmetry.group) for symmetry in found)


EXPECTED = {
    "vit": [("norm_linear", "scaling")] * 3 + [("query_key", "linear"), ("value_output", "linear")],
    "torch_attention": [("norm_linear", "scaling"), ("query_key", "linear"), ("value_output", "linear")],
    "torch_attention_separate": [("query_key", "linear"), ("value_output", "linear")],
    "torch_attention_extra_token": [("norm_linear", "scaling"), ("query_key", "linear"), ("value_output", "linear")],
    "grouped_queries": [("norm_linear", "scaling"), ("query_key", "linear"), ("value_output", "linear")],
    "rotary_halves": [("norm_linear", "scaling"), ("query_key", "half_planes"), ("value_output", "linear")],
    "rotary_neighbours": [("norm_linear", "scaling"), ("query_key", "neighbour_planes"), ("value_output", "linear")],
    "bert": [("query_key", "linear"), ("value_output", "linear")],
    "gpt2": [("norm_linear", "scaling"), ("query_key", "linear"), ("value_output", "linear")],
    "timm": [("norm_linear", "scaling"), ("query_key", "linear"), ("value_output", "linear")],
    "relu_mlp": [("homogeneous", "scaling")] * 2,
    "cnn": [("homogeneous", "scaling")] * 2,
    "transposed_cnn": [("homogeneous", "scaling")] * 2,
    "layer_norm": [("scale_invariant", "uniform")],
    "group_norm": [("scale_invariant", "scaling")],
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_architecture_has_the_symmetries_that_theory_gives_it(name: str) -> None:
    found = symmetries(PROBLEMS[name]())
    assert kinds(found) == EXPECTED[name]
    assert all(symmetry.checked and symmetry.exact and symmetry.defect <= 1e-10 for symmetry in found)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_gradient_alone_gives_the_hessian_product_of_the_generator(name: str) -> None:
    """H (X, -Y) = (-g_X, g_Y), and (JX, JY) is mapped to (J g_X, J g_Y)."""
    problem = PROBLEMS[name]()
    params, gradient = problem.params(), problem.gradient()
    for symmetry in symmetries(problem):
        for B in (None, symmetry.rotation) if symmetry.has_rotations else (None,):
            product = hessian_product(problem, params, symmetry.generator(params, B))
            torch.testing.assert_close(symmetry.image(gradient, B), product, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["float64", "float32"])
def test_the_product_is_right_to_rounding_on_the_papers_vit(dtype: torch.dtype, rtol: float) -> None:
    model = ViT(channels=1, num_classes=3).to(dtype)
    problem = Problem(model, F.mse_loss, (torch.randn(3, 1, 32, 32, dtype=dtype), torch.randn(3, 3, dtype=dtype)))
    params, gradient = problem.params(), problem.gradient()
    for symmetry in symmetries(problem):
        product = hessian_product(problem, params, symmetry.generator(params))
        assert norm(symmetry.image(gradient) - product) <= rtol * norm(product)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_loss_stays_the_same_all_along_an_orbit(name: str) -> None:
    problem = PROBLEMS[name]()
    params, loss = problem.params(), problem.loss().item()
    for symmetry in symmetries(problem):
        for factor in (0.5, 3.0):
            assert problem.loss(symmetry.transform(params, factor)).item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("name", ["vit", "torch_attention", "rotary_halves", "rotary_neighbours", "grouped_queries"])
def test_one_of_the_two_directions_of_a_pair_has_negative_curvature(name: str) -> None:
    """There u'Hu = -2c and w'Hw = +2c, with vectors of the same length."""
    problem = PROBLEMS[name]()
    params, gradient = problem.params(), problem.gradient()
    for symmetry in symmetries(problem):
        if symmetry.has_rotations and symmetry.width % 2 == 0:
            one = symmetry.curvature(params, gradient)
            other = symmetry.curvature(params, gradient, symmetry.rotation)
            assert one == pytest.approx(-other, rel=1e-9)
            assert min(one, other) < 0


@pytest.mark.parametrize("name", ["vit", "torch_attention", "gpt2", "relu_mlp", "cnn"])
def test_a_witness_has_the_curvature_that_it_states_and_lambda_min_is_below_it(name: str) -> None:
    problem = PROBLEMS[name]()
    params, gradient = problem.params(), problem.gradient()
    found = witness(symmetries(problem), params, gradient)
    assert found is not None and found.upper is not None and found.upper < 0
    product = hessian_product(problem, params, found.direction)
    torch.testing.assert_close(found.image, product, rtol=1e-8, atol=1e-11)
    assert found.curvature == pytest.approx(dot(found.direction, product) / dot(found.direction, found.direction))
    assert torch.linalg.eigvalsh(dense_hessian(problem, params))[0] <= found.upper
    assert "lambda_min <= -" in str(found)


@pytest.mark.parametrize("name", ["vit", "grouped_queries"])
def test_the_search_finds_the_least_curvature_among_the_directions_of_a_head(name: str) -> None:
    """Against the Hessian compressed to the orthonormalised tangents of the head."""
    problem = PROBLEMS[name]()
    params, gradient = problem.params(), problem.gradient()
    H = dense_hessian(problem, params)
    for symmetry in symmetries(problem):
        if symmetry.group != "linear":
            continue
        curvatures, _ = least_curved(symmetry, params, gradient)
        basis = torch.eye(symmetry.width**2, dtype=torch.float64).unflatten(1, (symmetry.width, symmetry.width))
        for unit in range(symmetry.units):
            matrices = torch.zeros(symmetry.width**2, symmetry.units, symmetry.width, symmetry.width).double()
            matrices[:, unit] = basis
            Q, _ = torch.linalg.qr(torch.stack([symmetry.generator(params, B) for B in matrices], dim=1))
            assert float(curvatures[unit]) == pytest.approx(float(torch.linalg.eigvalsh(Q.T @ H @ Q)[0]), rel=1e-6)


def test_a_product_at_hand_makes_the_witness_more_negative() -> None:
    problem = PROBLEMS["vit"]()
    params, gradient = problem.params(), problem.gradient()
    found = symmetries(problem)
    image = hessian_product(problem, params, gradient)
    alone, both = witness(found, params, gradient), witness(found, params, gradient, product=(gradient, image))
    assert both.curvature < alone.curvature
    torch.testing.assert_close(both.image, hessian_product(problem, params, both.direction), rtol=1e-8, atol=1e-11)
    assert torch.linalg.eigvalsh(dense_hessian(problem, params))[0] <= both.upper


def test_at_a_point_where_the_gradient_vanishes_there_is_no_witness() -> None:
    problem = PROBLEMS["vit"]()
    assert witness(symmetries(problem), problem.params(), torch.zeros(problem.num_params, dtype=torch.float64)) is None


def test_a_gradient_with_a_large_error_proves_nothing() -> None:
    problem = PROBLEMS["vit"]()
    found, gradient = symmetries(problem), problem.gradient()
    assert witness(found, problem.params(), gradient, gradient_error=10 * norm(gradient)) is None


@given(sign=st.sampled_from([-1.0, 1.0]), seed=st.integers(0, 50))
def test_scales_around_an_activation_are_witnesses_for_one_sign_only(sign: float, seed: int) -> None:
    """The loss s w v x has Hu = (-g_w, g_v) and u'Hu = -2 s w v: negative for s w v > 0 only."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False)).double()
    data = torch.ones(1, 1, dtype=torch.float64)
    problem = Problem.from_closure(model, lambda model, batch: sign * model(batch).mean() + 5.0, [data])
    values = torch.rand(2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1
    problem.set_params(values)
    found = witness(symmetries(problem), values, problem.gradient())
    if sign < 0:
        assert found is None
    else:
        squared = float(values.square().sum())
        assert found is not None and found.curvature == pytest.approx(-2 * float(values.prod()) / squared)


def test_a_scale_invariant_weight_gives_the_sign_and_with_one_product_a_bound() -> None:
    """There w'Hw = 0 and Hw = -g_w: indefinite; [[0, -s], [-s, c]] bounds lambda_min."""
    problem = PROBLEMS["layer_norm"]()
    params, gradient = problem.params(), problem.gradient()
    found = symmetries(problem)
    assert found[0].curvature(params, gradient) == pytest.approx(0.0, abs=1e-12)
    sign_only = witness(found, params, gradient)
    assert sign_only is not None and sign_only.upper is None
    assert "lambda_min < 0" in str(sign_only)
    image = hessian_product(problem, params, gradient)
    bounded = witness(found, params, gradient, product=(gradient, image))
    w = found[0].generator(params)
    s, c = dot(w, image) / (norm(w) * norm(gradient)), dot(gradient, image) / dot(gradient, gradient)
    assert bounded.curvature == pytest.approx(c / 2 - math.sqrt(c**2 / 4 + s**2), rel=1e-9)
    assert torch.linalg.eigvalsh(dense_hessian(problem, params))[0] <= bounded.upper < 0


@pytest.mark.parametrize(
    "layer",
    [nn.LayerNorm(6), nn.GroupNorm(3, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.RMSNorm(6, eps=1e-4)],
    ids=["layer", "group", "batch", "rms"],
)
def test_in_front_of_a_norm_with_eps_invariance_is_approximate_and_proves_nothing(layer: nn.Module) -> None:
    problem = problem_of(normalised_by(layer), 4)
    eps = layer.eps
    [found] = symmetries(problem)
    assert found.kind == "scale_invariant" and not found.exact and found.defect < 1e-2
    assert layer.eps == eps
    assert witness([found], problem.params(), problem.gradient()) is None


def test_each_channel_in_front_of_an_instance_norm_has_a_scale_of_its_own() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3))
    [found] = symmetries(problem_of(model, 1, 6, 6))
    assert (found.kind, found.group, found.units) == ("scale_invariant", "scaling", 3)


def test_each_head_of_normalised_queries_has_a_scale_of_its_own() -> None:
    problem = problem_of(GroupedQueryAttention(normalised=True), 5, 6)
    scales = {s.names: (s.group, s.units) for s in symmetries(problem) if s.kind == "scale_invariant"}
    assert scales == {
        ("q_proj.weight", "q_proj.bias"): ("scaling", 4),
        ("k_proj.weight", "k_proj.bias"): ("scaling", 2),
    }


class QueryNorm(nn.Module):
    """A tensor that is read twice: by the norm and by a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.last(hidden + self.norm(hidden).tanh())


class UsedTwice(nn.Module):
    """The first layer's weight is used again behind it, which adjacency in the container does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + (x @ self.layers[0].weight)[:, :3]


WITHOUT = {
    "tanh": lambda: problem_of(MLP(channels=1, num_classes=3, image_size=2), 1, 2, 2),
    "gelu": lambda: problem_of(nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)), 4),
    "batch_norm_in_eval_mode": lambda: problem_of(normalised_by(nn.BatchNorm1d(6)), 4),
    "residual_beside_the_norm": lambda: problem_of(QueryNorm(), 4),
    "parameter_used_twice": lambda: problem_of(UsedTwice(), 4),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_where_there_is_no_symmetry_none_is_found(name: str) -> None:
    assert symmetries(WITHOUT[name]()) == ()


def test_the_minimal_transformers_lack_the_pairs_that_they_leave_out() -> None:
    def pairs(**switches: bool) -> set[str]:
        found = symmetries(problem_of(small_vit(**switches), 1, 8, 8))
        return {symmetry.kind for symmetry in found} & {"query_key", "value_output"}

    assert pairs(shared_key_query=True) == {"value_output"}
    assert pairs(value_output=False) == {"query_key"}
    assert pairs(shared_key_query=True, value_output=False) == set()


@pytest.mark.parametrize("frozen", ["query", "key", "value", "output"])
def test_a_pair_with_a_frozen_half_is_none(frozen: str) -> None:
    model = small_vit()
    getattr(model.layers[0].attention, frozen).requires_grad_(False)
    lost = "query_key" if frozen in ("query", "key") else "value_output"
    for found in (symmetries(problem_of(model, 1, 8, 8)), symmetries(model)):
        names = {symmetry.kind for symmetry in found}
        assert lost not in names
        assert names >= {"query_key", "value_output"} - {lost}


def test_weight_decay_inside_the_loss_breaks_the_symmetry() -> None:
    model = relu_mlp().double()
    inputs = torch.randn(6, 4, dtype=torch.float64)

    def closure(model: nn.Module, batch: Tensor) -> Tensor:
        return model(batch).square().mean() + 1e-3 * sum(p.square().sum() for p in model.parameters())

    assert symmetries(Problem.from_closure(model, closure, [inputs])) == ()


def test_of_a_model_alone_symmetries_are_unchecked_and_prove_nothing() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    found = symmetries(model)
    assert kinds(found) == [("norm_linear", "scaling"), ("scale_invariant", "scaling")]
    assert not any(symmetry.checked for symmetry in found)
    assert "may leave" in str(found[0])
    assert kinds(symmetries(model.eval())) == [("norm_linear", "scaling")]
    with pytest.raises(ValueError, match=r"was not checked.*symmetries\(problem\)"):
        witness(found, torch.zeros(57), torch.zeros(57))


def test_layers_that_nothing_orders_are_found_in_the_graph_only() -> None:
    layer = nn.TransformerEncoderLayer(6, 2, 8, activation="relu", batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(30, 3))
    assert "homogeneous" not in {symmetry.kind for symmetry in symmetries(model)}
    assert "homogeneous" in {symmetry.kind for symmetry in symmetries(problem_of(model, 5, 6))}


def test_convolutions_pass_their_channels_to_the_layer_behind_the_flattening() -> None:
    problem = problem_of(VGG5(channels=1, num_classes=3), 1, 32, 32, samples=2)
    found = symmetries(problem)
    assert [(symmetry.group, symmetry.units) for symmetry in found if symmetry.kind == "homogeneous"] == [
        ("scaling", units) for units in (32, 64, 64, 64)
    ]


def test_fresh_output_layers_of_zeros_do_not_hide_that_a_candidate_is_wrong() -> None:
    """With zeros behind it nothing changes the loss; near that point the loss tells right from wrong."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    problem = problem_of(model, 4)
    nn.init.zeros_(model[4].weight)
    assert [symmetry.names for symmetry in symmetries(problem)] == [("2.weight", "2.bias", "4.weight")]


def test_the_search_leaves_the_model_alone_and_is_charged() -> None:
    problem = PROBLEMS["vit"]()
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    symmetries(problem)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in problem.model.state_dict().items())
    assert not any(module._forward_hooks for module in problem.model.modules())
    assert problem.cost.forwards >= 10


def test_float32_finds_the_same_symmetries() -> None:
    model = small_vit()
    inputs, targets = torch.randn(6, 1, 8, 8), torch.randn(6, 3)
    assert kinds(symmetries(Problem(model, F.mse_loss, (inputs, targets)))) == EXPECTED["vit"]


def test_anything_but_a_problem_or_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"given a int; needed is a Problem"):
        symmetries(3)
