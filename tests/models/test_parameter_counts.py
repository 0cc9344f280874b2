from __future__ import annotations

import pytest

from landscape.models import NAMES, build

# Hrycej et al. (2025), Table 1: K training images, M classes; the printed Q = K M / P; P as reconstructed.
DATA = {"MNIST": (1, 10, 60_000), "CIFAR-10": (3, 10, 50_000), "CIFAR-100": (3, 100, 50_000)}
MODELS = ["vit-mlp", "vit-nomlp", "vit-nomlp-wkewq", "vit-nomlp-wkewq-wvwo", "vgg5-max-relu"]
NUM_PARAMETERS = {
    "MNIST": [154_058, 54_794, 42_506, 17_930, 121_994],
    "CIFAR-10": [162_250, 62_986, 50_698, 26_122, 122_570],
    "CIFAR-100": [168_100, 68_836, 56_548, 31_972, 128_420],
}
PRINTED_Q = {
    "MNIST": ["3.9", "11.0", "14.1", "33.5", "4.9"],
    "CIFAR-10": ["3.1", "7.9", "9.9", "19.1", "4.1"],
    "CIFAR-100": ["29.7", "72.6", "88.4", "156.4", "38.9"],
}
ROWS = [
    (data, model, num_parameters, q)
    for data in DATA
    for model, num_parameters, q in zip(MODELS, NUM_PARAMETERS[data], PRINTED_Q[data], strict=True)
]


@pytest.mark.parametrize(("data", "model", "num_parameters", "printed_q"), ROWS)
def test_each_model_has_the_parameters_that_give_the_printed_overdetermination_ratio(
    data, model, num_parameters, printed_q
):
    channels, num_classes, num_examples = DATA[data]

    built = build(model, channels=channels, num_classes=num_classes, seed=0)

    counted = sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad)
    assert counted == num_parameters
    assert f"{num_examples * num_classes / counted:.1f}" == printed_q


def test_the_table_covers_every_model_of_the_paper():
    assert set(MODELS) == set(NAMES) - {"mlp"}


def test_the_mlp_has_one_hidden_layer_of_64():
    model = build("mlp", channels=1, num_classes=10, image_size=8, seed=0)

    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(64, 64), (64,), (10, 64), (10,)]
