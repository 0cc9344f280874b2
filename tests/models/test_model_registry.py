from __future__ import annotations

import copy

import pytest
import torch
from sklearn.datasets import load_digits

from landscape import models
from landscape.models import MLP, NAMES, VGG5, ViT, build


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_weights_and_another_seed_gives_others(name):
    first, again, other = (flat(build(name, channels=1, num_classes=3, seed=seed)) for seed in (5, 5, 6))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_leaves_the_callers_random_numbers_untouched(name):
    torch.manual_seed(11)
    before = torch.get_rng_state()

    build(name, channels=1, num_classes=3, seed=5)

    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_leaves_the_random_numbers_untouched_when_building_fails():
    before = torch.get_rng_state()

    with pytest.raises(ValueError, match="image_size=28"):
        build("vit-mlp", channels=1, num_classes=3, image_size=28, seed=5)

    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_the_global_generator_decides():
    torch.manual_seed(11)
    first = flat(build("mlp", channels=1, num_classes=3))
    second = flat(build("mlp", channels=1, num_classes=3))
    torch.manual_seed(11)
    again = flat(build("mlp", channels=1, num_classes=3))

    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("name", "kind"), [("mlp", MLP), ("vit-mlp", ViT), ("vit-nomlp-wkewq-wvwo", ViT), ("vgg5-max-relu", VGG5)]
)
def test_each_name_builds_its_class(name, kind):
    assert type(build(name, channels=1, num_classes=2, seed=0)) is kind


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_model_maps_images_to_one_output_a_class(name, channels):
    model = build(name, channels=channels, num_classes=7, seed=0)

    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 7)
    assert model(torch.zeros(0, channels, 32, 32)).shape == (0, 7)


@pytest.mark.parametrize("name", NAMES)
def test_each_model_treats_each_image_by_itself(name):
    """No statistics over the batch: the loss over all data is the mean of the losses of its batches."""
    model = build(name, channels=1, num_classes=4, seed=0).double()
    images = torch.rand(5, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    together = model(images)
    apart = torch.cat([model(image[None]) for image in images])

    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_initial_weights_are_those_of_torch(name):
    """What users know, and what published measurements on these models start from: layers are left as torch made them."""
    model = build(name, channels=1, num_classes=10, seed=0)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5  # Kaiming uniform with a = sqrt(5)
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None or layer.bias.abs().max() <= bound


@pytest.mark.parametrize("name", NAMES)
def test_each_model_learns_real_digits(name):
    """Adam on 100 real digits of 8 x 8, enlarged to 32 x 32: most are told apart, which guessing (10 %) does not do."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:100]).to(torch.float32)[:, None] / 16
    images = torch.nn.functional.interpolate(images, size=32, mode="nearest")
    labels = torch.from_numpy(digits.target[:100])
    targets = torch.nn.functional.one_hot(labels, 10).to(torch.float32)
    model = build(name, channels=1, num_classes=10, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    for _ in range(120):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(images), targets).backward()
        optimizer.step()

    accuracy = (model(images).argmax(dim=1) == labels).double().mean()
    assert accuracy > 0.6


@pytest.mark.parametrize("name", NAMES)
def test_each_model_survives_a_copy_and_a_round_trip_through_its_state_dict(name):
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    model = build(name, channels=1, num_classes=4, seed=0)
    other = build(name, channels=1, num_classes=4, seed=1)

    other.load_state_dict(model.state_dict())

    assert torch.equal(other(images), model(images))
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no model 'resnet'. Known are: mlp, vit-mlp, .*vgg5-max-relu"):
        build("resnet", channels=1, num_classes=10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", ["channels", "num_classes", "image_size"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True])
def test_a_size_that_is_no_positive_whole_number_is_refused(name, size, value):
    with pytest.raises(ValueError, match=f"{size}={value!r}; it must be a whole number of at least 1"):
        build(name, **{"channels": 1, "num_classes": 10, "image_size": 32, size: value})


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("vit")])
@pytest.mark.parametrize("image_size", [28, 31, 33, 4])
def test_an_image_size_that_patches_do_not_fill_is_refused_with_the_next_one_that_they_do(name, image_size):
    pad_to = -(-image_size // 8) * 8
    with pytest.raises(ValueError, match=rf"image_size={image_size}.*multiple of 8.*pad_to={pad_to}"):
        build(name, channels=1, num_classes=10, image_size=image_size)


@pytest.mark.parametrize("image_size", [28, 64])
def test_another_image_size_than_32_is_refused_by_vgg5(image_size):
    with pytest.raises(ValueError, match=rf"image_size={image_size}; VGG5 takes images of 32 x 32 only"):
        build("vgg5-max-relu", channels=1, num_classes=10, image_size=image_size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 24, 32), (2, 1, 24, 24), (1, 32, 32), (2, 1024)])
def test_images_of_another_shape_are_refused_with_both_shapes(name, shape):
    model = build(name, channels=1, num_classes=10, seed=0)
    with pytest.raises(ValueError, match=r"takes images of shape \(N, 1, 32, 32\), but was given"):
        model(torch.zeros(shape))


def test_the_classes_are_public():
    assert {"MLP", "ViT", "VGG5", "build", "NAMES"} <= set(models.__all__)
