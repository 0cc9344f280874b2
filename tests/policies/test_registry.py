from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from landscape import policies
from landscape.policies.plugins import BrokenPluginError
from landscape.specs import parse_spec
from landscape.tracking.columns import COLUMNS, FAMILIES

NEEDED = {"after-epochs": {"epochs": 3}, "budget-share": {"budget": 100.0}}
OWN = policies.names()


def test_every_name_builds_its_policy():
    built = [policies.build(name, **NEEDED.get(name, {})) for name in OWN]
    assert len({type(policy) for policy in built}) == len(OWN)


@pytest.mark.parametrize("name", OWN)
def test_every_policy_reads_documented_columns_and_says_what_it_claims(name):
    policy = policies.build(name, **NEEDED.get(name, {}))
    assert policy.requires <= {*COLUMNS, *FAMILIES}
    assert policies.claim_of(policy) in (None, *policies.CLAIMS)
    assert policies.needs_hindsight(policy) == (name in ("reference-convexity", "restricted-secant"))


def test_a_spec_carries_settings_and_keywords_win():
    policy = policies.build("gradient-norm-peak:factor=0.8,norm=full,require-rise=true", factor=0.7)
    assert policy == policies.GradientNormPeak(factor=0.7, norm="full", require_rise=True)


PEAK, PLATEAU = policies.GradientNormPeak(), policies.LossPlateau()


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("after-epochs:300", policies.AfterEpochs(300)),
        ("loss-plateau:5,tau=1e-3", policies.LossPlateau(5, 1e-3)),
        ("patience:3(gradient-norm-peak:factor=0.8)", policies.Patience(policies.GradientNormPeak(0.8), 3)),
        ("patience:times=2( loss-plateau )", policies.Patience(PLATEAU, 2)),
        ("smooth:span=3,kind=window(gradient-norm-peak)", policies.Smooth(PEAK, 3, "window")),
        ("min-epochs:epochs=4,forget=true(loss-plateau)", policies.MinEpochs(PLATEAU, 4, forget=True)),
        ("after-warmup(loss-plateau)", policies.AfterWarmup(PLATEAU)),
        ("deadline:budget=500,share=0.2(loss-plateau)", policies.Deadline(PLATEAU, 500, 0.2)),
        ("loss-plateau & gradient-norm-peak", policies.all_of(PLATEAU, PEAK)),
        ("all-of(loss-plateau; gradient-norm-peak)", policies.all_of(PLATEAU, PEAK)),
        (
            "never | loss-plateau & gradient-norm-peak",
            policies.any_of(policies.Never(), policies.all_of(PLATEAU, PEAK)),
        ),
        ("(never|loss-plateau)&gradient-norm-peak", policies.all_of(policies.any_of(policies.Never(), PLATEAU), PEAK)),
        ("vote:2(never; loss-plateau; gradient-norm-peak)", policies.vote(2, policies.Never(), PLATEAU, PEAK)),
        ("any-of(never|loss-plateau)", policies.any_of(policies.any_of(policies.Never(), PLATEAU))),
        ("with-swap-back(loss-plateau)", policies.WithSwapBack(PLATEAU)),
        (
            "with-swap-back(loss-plateau; search-failures:patience=1)",
            policies.WithSwapBack(PLATEAU, policies.SearchFailures(1)),
        ),
        ("patience:2(smooth:3(loss-plateau))", policies.Patience(policies.Smooth(PLATEAU, 3), 2)),
    ],
)
def test_an_expression_builds_what_it_says(spec, policy):
    assert policies.build(spec) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gradient-norm-peek", "unknown policy 'gradient-norm-peek'. Did you mean 'gradient-norm-peak'"),
        ("never:factor=1", "policy 'never' has no setting 'factor'. It takes: none"),
        ("never:1", "policy 'never' takes no setting, but '1' was given"),
        ("gradient-norm-peak:facto=1", "no setting 'facto'. Did you mean 'factor'"),
        ("gradient-norm-peak:factor", "has no value"),
        ("gradient-norm-peak:factor=1,factor=1", "given twice"),
        ("after-epochs", "cannot be made"),
        ("gradient-norm-peak:factor=high", "cannot be made"),
        ("patience", r"policy 'patience' goes around a policy: write patience\(gradient-norm-peak\)"),
        ("patience(never; never)", "was given 2 policies in parentheses; it goes around at most 1"),
        ("never(never)", "it goes around no other policy; what does: patience, "),
        ("vote:2", r"goes around several policies: write vote\(a; b; c\)"),
        ("patience:3(never", "at character 17, a closing parenthesis is missing"),
        ("never & ", "at character 9, a policy's name is missing"),
        ("never) ", r"at character 6, '\)' is not expected here"),
        ("", "a policy's name is missing"),
        ("vote:3(never; never)", "votes=3 was given for 2 policies"),
        ("patience:3(gradient-norm-peek)", "Did you mean 'gradient-norm-peak'"),
    ],
)
def test_a_wrong_spec_is_explained(spec, message):
    with pytest.raises(ValueError, match=message):
        policies.build(spec)


def test_keywords_beside_joined_policies_are_refused():
    with pytest.raises(ValueError, match="factor was given beside policies joined by &"):
        policies.build("never & gradient-norm-peak", factor=0.5)


def test_values_are_read_as_numbers_booleans_none_or_text():
    assert parse_spec("a:b=1,c=1e-3,d=true,e=none,f=full") == (
        "a",
        {"b": 1, "c": 1e-3, "d": True, "e": None, "f": "full"},
    )


@pytest.mark.parametrize("name", [*OWN, *policies.wrapper_names()])
def test_every_description_has_a_sentence_and_the_settings(name):
    description = policies.describe(name)
    assert description.summary.endswith(".") and "\n" not in description.summary and ":math:" not in description.summary
    wraps = name in policies.wrapper_names()
    assert (description.requires is None) == wraps
    assert str(description).splitlines()[-1].startswith("  settings: ")


# -- policies of other packages, as a real distribution on the path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution with policies that work, and some that do not."""
    (tmp_path / "third_party_rules.py").write_text(
        "import landscape.policies as p\n"
        "class Halves(p.AfterEpochs):\n"
        '    """Swap half-way."""\n'
        "def rule(history, least=0.5):\n"
        '    """Swap when small."""\n'
        "    return history.column('loss')[-1] < least\n"
        "small = p.FunctionPolicy(rule, 'small', frozenset({'loss'}))\n"
        "nothing = 3\n"
    )
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[landscape.policies]\n"
        "halves = third_party_rules:Halves\n"
        "small = third_party_rules:small\n"
        "gone = third_party_rules:Missing\n"
        "absent = no_such_module_at_all:Policy\n"
        "nothing = third_party_rules:nothing\n"
        "never = third_party_rules:Halves\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("third_party_rules", None)


@pytest.mark.usefixtures("installed")
def test_policies_of_an_installed_package_are_built_by_name():
    assert policies.build("halves:4").epochs == 4
    small = policies.build("patience:2(small:least=0.1)")
    assert small.policy.settings == {"least": 0.1} and small.requires == {"loss"}
    assert policies.describe("halves").summary == "Swap half-way."


@pytest.mark.usefixtures("installed")
def test_a_broken_entry_point_is_named_and_harms_no_other():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        known = policies.names()
    said = [str(item.message) for item in caught]
    assert {"halves", "small"} <= set(known) and not {"gone", "absent", "nothing"} & set(known)
    for name in ("gone", "absent", "nothing", "never"):
        assert sum(f"policy '{name}'" in message for message in said) == 1
    assert any("of the package 'third-party' cannot be loaded: ModuleNotFoundError" in message for message in said)
    with pytest.raises(BrokenPluginError, match="policy 'gone' = 'third_party_rules:Missing' .* AttributeError"):
        policies.build("gone")
    assert policies.build("never") == policies.Never()
