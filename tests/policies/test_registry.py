from __future__ import annotations

import pytest

from landscape import policies
from landscape.specs import parse_spec


def test_every_name_builds_its_policy():
    settings = {"after-epochs": {"epochs": 3}}
    built = [policies.build(name, **settings.get(name, {})) for name in policies.names()]
    assert len({type(policy) for policy in built}) == len(policies.names())


def test_a_spec_carries_settings_and_keywords_win():
    policy = policies.build("gradient-norm-peak:factor=0.8,norm=full,require-rise=true", factor=0.7)
    assert policy == policies.GradientNormPeak(factor=0.7, norm="full", require_rise=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gradient-norm-peek", "unknown policy 'gradient-norm-peek'. Did you mean 'gradient-norm-peak'"),
        ("never:factor=1", "policy 'never' has no setting 'factor'. It takes: none"),
        ("gradient-norm-peak:facto=1", "no setting 'facto'. Did you mean 'factor'"),
        ("gradient-norm-peak:factor", "has no value"),
        ("gradient-norm-peak:factor=1,factor=1", "given twice"),
        ("after-epochs", "cannot be made"),
        ("gradient-norm-peak:factor=high", "cannot be made"),
    ],
)
def test_a_wrong_spec_is_explained(spec, message):
    with pytest.raises(ValueError, match=message):
        policies.build(spec)


def test_values_are_read_as_numbers_booleans_none_or_text():
    assert parse_spec("a:b=1,c=1e-3,d=true,e=none,f=full") == (
        "a",
        {"b": 1, "c": 1e-3, "d": True, "e": None, "f": "full"},
    )
