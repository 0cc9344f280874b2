from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landscape.models import ViT
from landscape.models.vit import Attention, EncoderLayer, cut_into_patches, sinusoidal_positions


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_the_whole_layer_equals_the_encoder_layer_of_torch(generator):
    """Same weights, biases of attention at zero, norm first, exact GELU: the same function."""
    ours = EncoderLayer(64, 4, mlp=True, shared_key_query=False, value_output=True).double()
    theirs = nn.TransformerEncoderLayer(
        64, 4, dim_feedforward=256, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    attention = ours.attention
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) / 8)
        weights = (attention.query.weight, attention.key.weight, attention.value.weight)
        theirs.self_attn.in_proj_weight.copy_(torch.cat(weights))
        theirs.self_attn.in_proj_bias.zero_()
        theirs.self_attn.out_proj.weight.copy_(attention.output.weight)
        theirs.self_attn.out_proj.bias.zero_()
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.mlp_norm.state_dict())
        theirs.linear1.load_state_dict(ours.mlp[0].state_dict())
        theirs.linear2.load_state_dict(ours.mlp[2].state_dict())
    tokens = torch.randn(3, 16, 64, dtype=torch.float64, generator=generator)

    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-10, atol=1e-12)


def test_without_mlp_the_second_norm_and_its_residual_connection_stay(generator):
    layer = EncoderLayer(64, 4, mlp=False, shared_key_query=False, value_output=True).double()
    tokens = torch.randn(3, 16, 64, dtype=torch.float64, generator=generator)

    attended = tokens + layer.attention(layer.attention_norm(tokens))

    torch.testing.assert_close(layer(tokens), attended + layer.mlp_norm(attended))


def test_one_matrix_for_keys_and_queries_equals_two_equal_matrices(generator):
    shared = Attention(64, 4, shared_key_query=True, value_output=True)
    separate = Attention(64, 4, shared_key_query=False, value_output=True)
    with torch.no_grad():
        separate.query.weight.copy_(shared.query.weight)
        separate.key.weight.copy_(shared.query.weight)
        separate.value.weight.copy_(shared.value.weight)
        separate.output.weight.copy_(shared.output.weight)
    tokens = torch.randn(2, 16, 64, generator=generator)

    torch.testing.assert_close(shared(tokens), separate(tokens))


def test_without_value_and_output_each_head_averages_its_own_slice_of_the_tokens(generator):
    """The same as both matrices being the identity."""
    bare = Attention(64, 4, shared_key_query=True, value_output=False)
    whole = Attention(64, 4, shared_key_query=True, value_output=True)
    with torch.no_grad():
        whole.query.weight.copy_(bare.query.weight)
        whole.value.weight.copy_(torch.eye(64))
        whole.output.weight.copy_(torch.eye(64))
    tokens = torch.randn(2, 16, 64, generator=generator)

    torch.testing.assert_close(bare(tokens), whole(tokens))
    assert [name for name, _ in bare.named_parameters()] == ["query.weight"]


def test_a_head_divides_its_scores_by_the_root_of_its_width():
    """Two tokens, one head: the weights are the softmax of q k / sqrt(d), here worked out by hand."""
    attention = Attention(2, 1, shared_key_query=True, value_output=False)
    with torch.no_grad():
        attention.query.weight.copy_(torch.eye(2))
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])

    first, second = math.exp(1 / math.sqrt(2)), 1.0  # scores of token 0: 1 with itself, 0 with token 1
    expected = torch.tensor([first, 2 * second]) / (first + second)
    torch.testing.assert_close(attention(tokens)[0, 0], expected)


def test_patches_are_cut_row_by_row_and_lose_no_pixel():
    images = torch.arange(2 * 3 * 32 * 32, dtype=torch.float32).reshape(2, 3, 32, 32)

    patches = cut_into_patches(images, 8)

    assert patches.shape == (2, 16, 192)
    for token in range(16):
        row, column = 8 * (token // 4), 8 * (token % 4)
        assert torch.equal(patches[1, token].reshape(3, 8, 8), images[1, :, row : row + 8, column : column + 8])


def test_positions_are_the_sinusoids_of_vaswani():
    positions = sinusoidal_positions(16, 64)

    for token, index in [(0, 0), (5, 0), (5, 7), (15, 31)]:
        angle = token / 10_000 ** (2 * index / 64)
        assert positions[token, 2 * index].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert positions[token, 2 * index + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_positions_tell_the_model_where_a_patch_lies(generator):
    """Without them the mean over the tokens would not see that two patches have changed places."""
    model = ViT(channels=1, num_classes=3)
    images = torch.rand(1, 1, 32, 32, generator=generator)
    swapped = images.roll(8, dims=3)

    assert not torch.allclose(model(images), model(swapped), atol=1e-4)
    model.positions.zero_()
    torch.testing.assert_close(model(images), model(swapped), rtol=1e-4, atol=1e-5)


def test_positions_are_no_parameters_and_follow_the_model_to_another_type():
    model = ViT(channels=1, num_classes=3).double()

    assert "positions" not in model.state_dict()
    assert model.positions.dtype == torch.float64


def test_other_sizes_can_be_asked_for():
    model = ViT(channels=3, num_classes=5, image_size=12, patch_size=4, width=12, num_heads=3, num_layers=2)

    assert len(model.layers) == 2
    assert model(torch.zeros(2, 3, 12, 12)).shape == (2, 5)


@pytest.mark.parametrize(("width", "num_heads"), [(64, 3), (9, 3)])
def test_a_width_that_heads_or_sinusoids_do_not_divide_is_refused(width, num_heads):
    with pytest.raises(ValueError, match=rf"width={width}; it must be even and a multiple of num_heads={num_heads}"):
        ViT(channels=1, num_classes=3, width=width, num_heads=num_heads)
