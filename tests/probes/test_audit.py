from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binom
from torch import nn

from landscape.operators.hessian import Hessian
from landscape.probes.auditing.audit import audit
from landscape.probes.auditing.batches import batch_size_curve, held_out_test
from landscape.probes.auditing.result import AuditVerdict
from landscape.probes.auditing.steps import Place, difference_table
from landscape.problem import Problem
from landscape.testing.problems import Point, function_problem, least_squares, saddle
from tests.problems import MODELS, regression_data

QUICK = {"steps": (), "batch_sizes": (), "verify": False}


def sample_quadratics(matrices):
    """The loss 1/2 mean_i x'A_i x near 0: every sample has a Hessian of its own."""
    params = 0.1 * torch.ones(matrices.shape[1], dtype=matrices.dtype)

    def closure(model, batch):
        x = model(batch)
        return 0.5 * torch.einsum("i,bij,j->b", x, batch, x).mean()

    return Problem.from_closure(Point(params), closure, matrices)


def draw(mean, count, generator):
    """Independent symmetric matrices around a mean."""
    noise = torch.randn(count, *mean.shape, generator=generator, dtype=torch.float64)
    return mean + (noise + noise.mT) / 2


def most_negative(problem):
    return torch.linalg.eigh(problem.hessian(verify=False).to_dense()).eigenvectors[:, 0]


def kinked(slope, curve, count=200):
    """The mean of slope |x - c_i| plus curve x^2 / 2, with kinks c_i evenly spread over [-1, 1]."""
    places = torch.linspace(-1, 1, count, dtype=torch.float64) + 1e-4
    model = Point(torch.zeros(1, dtype=torch.float64))
    problem = Problem.from_closure(
        model, lambda m, c: slope * (m(c) - c).abs().mean() + 0.5 * curve * m(c).square().sum(), places
    )
    return problem, places


ONE = torch.ones(1, dtype=torch.float64)


@pytest.mark.parametrize("population", [0.0, 0.15])
def test_noise_is_called_real_no_more_often_than_the_level_allows(population):
    """The direction is the worst one of its own samples; curvature in the population is not negative."""
    repetitions, alpha = 200, 0.05
    mean = population * torch.eye(4, dtype=torch.float64)
    verdicts = []
    for seed in range(repetitions):
        generator = torch.Generator().manual_seed(seed)
        problem, fresh = (sample_quadratics(draw(mean, 40, generator)) for _ in range(2))
        found = audit(problem, most_negative(problem), fresh=fresh, alpha=alpha, **QUICK)
        verdicts.append(found.verdict)
        if found.verdict is not AuditVerdict.NOT_NEGATIVE:
            assert found.curvature < 0 and found.scope == "population"
    assert verdicts.count(AuditVerdict.REAL) <= binom.ppf(0.999, repetitions, alpha)
    assert verdicts.count(AuditVerdict.NOISE) > 0.4 * repetitions


def test_negative_curvature_of_the_population_is_found_real(generator):
    mean = torch.diag(torch.tensor([-0.8, 1.0, 1.0, 1.0], dtype=torch.float64))
    problem, fresh = (sample_quadratics(draw(mean, 60, generator)) for _ in range(2))
    found = audit(problem, most_negative(problem), fresh=fresh)
    assert found.verdict is AuditVerdict.REAL and found.held_out.upper < 0 and found.held_out.p_value < 0.01
    assert found.held_out.num_groups == 10 and "Held-out samples show" in str(found)
    assert len(found.batch_sizes) == 0 and len(found.steps) == 6


def test_too_few_fresh_samples_leave_it_undecided(generator):
    mean = torch.diag(torch.tensor([-0.3, 1.0, 1.0], dtype=torch.float64))
    problem = sample_quadratics(draw(mean, 60, generator))
    for count, words in ((1, "too few to tell"), (4, "allow either sign")):
        fresh = sample_quadratics(draw(mean, count, torch.Generator().manual_seed(4)))
        found = audit(problem, most_negative(problem), fresh=fresh, **QUICK)
        assert found.verdict is AuditVerdict.UNDECIDED and words in found.reason


def test_the_held_out_test_is_students_t_test():
    from scipy.stats import ttest_1samp

    problem = least_squares(num_samples=12, num_features=2).problem
    unit = torch.tensor([0.6, 0.8], dtype=torch.float64)
    found = held_out_test(problem.hessian(), unit, num_groups=12, alpha=0.1)
    samples = 2 * (problem.batches.tensors[0] @ unit) ** 2
    expected = ttest_1samp(samples.numpy(), 0.0, alternative="less")
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-8)
    assert found.mean == pytest.approx(float(samples.mean()))
    assert found.lower == pytest.approx(ttest_1samp(samples.numpy(), 0.0).confidence_interval(0.8).low)


def test_a_saddle_is_real_over_these_samples_and_says_so():
    known = saddle()
    eigenvalues, vectors = torch.linalg.eigh(known.hessian)
    found = audit(known.problem, 3.0 * vectors[:, 0])
    assert found.verdict is AuditVerdict.REAL and found.scope == "these samples"
    assert found.curvature == pytest.approx(float(eigenvalues[0]), rel=1e-12) == found.exact_curvature
    assert "no held-out samples were given" in found.reason and "not measured" in str(found)
    assert all(row.sign < 0 and not row.has_kinks for row in found.steps)


def test_a_saddle_that_bends_up_further_out_is_no_kink():
    """Along x the loss -x^2/2 + 25 x^4 rises from |x| = 0.14 on, smoothly."""
    problem = function_problem(lambda x: -0.5 * (x**2).sum() + 25 * (x**4).sum(), 1e-3 * ONE)
    found = audit(problem, ONE, steps=(1.0, 0.3, 0.1, 0.03, 0.01))
    assert found.verdict is AuditVerdict.REAL
    assert found.steps[0].sign > 0 > found.steps[-1].sign and not any(row.has_kinks for row in found.steps)
    assert "falls over up to 0.06 " in found.reason


def test_a_convex_direction_has_nothing_to_explain():
    known = least_squares()
    found = audit(known.problem, torch.ones(5, dtype=torch.float64), **QUICK)
    assert found.verdict is AuditVerdict.NOT_NEGATIVE and found.steps == found.batch_sizes == ()


def test_convex_kinks_outweigh_a_negative_smooth_part():
    problem, _ = kinked(slope=3.0, curve=-1.0)
    found = audit(problem, ONE, steps=(0.3, 0.1, 0.03, 0.01, 1e-5))
    assert found.curvature == pytest.approx(-1.0) and found.verdict is AuditVerdict.KINK
    assert [row.sign for row in found.steps] == [1, 1, 1, 1, -1]
    assert "kinks add" in found.reason


def test_concave_kinks_give_a_negative_curvature_that_the_hessian_does_not_have():
    problem, _ = kinked(slope=-3.0, curve=1.0)
    found = audit(problem, ONE, steps=(0.3, 0.1))
    assert found.curvature == pytest.approx(1.0) and found.verdict is AuditVerdict.KINK


def test_standing_on_a_kink_is_a_kink():
    problem = function_problem(lambda x: x.abs().sum() - 0.5 * (x**2).sum(), 0 * ONE)
    found = audit(problem, ONE, verify=False)  # verifying refuses such a point, where there is no Hessian
    assert found.verdict is AuditVerdict.KINK
    assert found.steps[-1].gradient_curvature > 30 * found.steps[0].gradient_curvature / 2  # grows as 1/h


def test_negative_curvature_of_a_relu_network_is_split_into_smooth_part_and_kinks(generator):
    """On a grid fine enough to meet single kinks, the gradient's change is what the parts add up to."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    problem = Problem(model, nn.functional.mse_loss, regression_data(50))
    unit = most_negative(problem)
    curvature = float(unit @ (problem.hessian() @ unit))
    found = audit(problem, unit, batch_sizes=())
    assert found.curvature == pytest.approx(curvature, rel=1e-9)
    smallest = found.steps[-1]
    assert smallest.gradient_curvature == pytest.approx(smallest.smooth, rel=0.1) or smallest.has_kinks
    assert found.verdict in (AuditVerdict.REAL, AuditVerdict.KINK)


def test_what_kinks_add_is_the_sum_of_their_jumps():
    problem, places = kinked(slope=3.0, curve=-1.0)
    rows = difference_table(Place(problem.objective, None, "autograd"), ONE, -1.0, 1.0, (0.5, 0.11, 0.007))
    for row in rows:
        inside = int((places.abs() < row.step).sum())
        assert row.smooth == pytest.approx(-1.0)
        assert row.kinks == pytest.approx(2 * 3.0 * inside / places.numel() / (2 * row.step), abs=row.gradient_rounding)


def test_a_smooth_network_has_no_kinks_and_the_differences_agree(generator):
    problem = Problem(MODELS["mlp"]().double(), nn.functional.mse_loss, regression_data(30))
    unit = torch.randn(problem.num_params, generator=generator, dtype=torch.float64)
    unit /= unit.norm()
    H = problem.hessian()
    curvature = float(unit @ (H @ unit))
    for row in difference_table(Place(problem.objective, None, "autograd"), unit, curvature, 10.0, (0.3, 1e-2, 1e-4)):
        assert not row.has_kinks
        assert abs(row.kinks) <= row.gradient_rounding + 10 * row.step**6
        assert row.loss_curvature == pytest.approx(curvature, abs=row.loss_rounding + 5 * row.step**2)


def test_rounding_of_a_flat_direction_in_float32_is_told_from_curvature():
    """The loss 5000 (u'x)^2 is flat orthogonally to u; float32 products there have either sign."""
    verdicts = []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        u, d = torch.randn(2, 50, generator=generator, dtype=torch.float64)
        d = (d - (d @ u) / (u @ u) * u).float()
        u = (u / u.norm()).float()
        problem = Problem.from_closure(Point(torch.ones(50)), lambda m, b: 5e3 * (b @ m(b)).square().mean(), u[None])
        found = audit(problem, d, steps=(), verify=False)
        assert found.is_exact and abs(found.difference) <= found.curvature_error
        expected = AuditVerdict.ROUNDING if found.curvature < 0 else AuditVerdict.NOT_NEGATIVE
        assert found.verdict is expected
        verdicts.append(found.verdict)
    assert set(verdicts) == {AuditVerdict.ROUNDING, AuditVerdict.NOT_NEGATIVE}


def test_float32_and_float64_agree_about_a_real_curvature():
    problem = Problem(MODELS["mlp"](), nn.functional.mse_loss, regression_data(30, torch.float32))
    found = audit(problem, most_negative(problem))
    assert found.verdict is AuditVerdict.REAL and found.is_exact
    assert 0 < abs(found.difference) < found.curvature_error < 1e-3


def test_a_loss_that_has_no_copy_in_float64_is_judged_in_its_own_precision():
    weights = torch.tensor([[1.0, -1.0]])
    problem = Problem.from_closure(
        Point(torch.ones(2)), lambda m, b: (weights @ torch.diag(m(b)) @ m(b)).sum(), torch.zeros(3)
    )
    found = audit(problem, torch.tensor([0.0, 1.0]), **QUICK)
    assert not found.is_exact and found.difference == 0
    assert found.verdict is AuditVerdict.REAL and "not measured in float64" in str(found)


def test_a_batch_of_the_curve_has_the_eigenvalue_of_its_own_samples(generator):
    matrices = draw(torch.eye(5, dtype=torch.float64), 40, generator)
    problem = sample_quadratics(matrices)
    unit = torch.eye(5, dtype=torch.float64)[0]
    place = Place(problem.objective, None, "autograd")
    curve = batch_size_curve(
        place, unit, [8, 39], fresh=None, num_draws=1, num_matvecs=20, generator=torch.Generator().manual_seed(5)
    )
    own = next(problem.minibatches(8, torch.Generator().manual_seed(5))).content.mean(dim=0)
    assert curve[0].in_sample == pytest.approx(float(torch.linalg.eigvalsh(own)[0]), rel=1e-9)
    assert curve[0].along_direction == pytest.approx(float(own[0, 0]))
    assert curve[1].batch_size == 39 and math.isnan(curve[1].in_sample_spread)


def test_small_batches_show_negative_curvature_that_others_do_not_have():
    generator = torch.Generator().manual_seed(2)
    matrices = draw(0.3 * torch.eye(6, dtype=torch.float64), 400, generator)
    problem = sample_quadratics(matrices)
    unit = torch.eye(6, dtype=torch.float64)[0]
    found = audit(problem, unit, batch_sizes=(4, 16, 64), steps=(), num_draws=8)
    in_sample = [row.in_sample for row in found.batch_sizes]
    assert in_sample == sorted(in_sample) and in_sample[0] < -0.5
    for row in found.batch_sizes:
        assert row.out_of_sample == pytest.approx(0.3, abs=0.2)
        assert row.along_direction == pytest.approx(found.curvature, abs=4 * row.along_direction_spread / 8**0.5)
    assert "batches of 4:" in str(found)


def test_a_float32_model_is_audited_with_everything_and_left_as_it_was(generator):
    model = MODELS["batch_norm_and_dropout"]()
    data = regression_data(200, torch.float32)
    problem = Problem(model, nn.functional.mse_loss, (data[0][:100], data[1][:100]))
    fresh = Problem(model, nn.functional.mse_loss, (data[0][100:], data[1][100:]))
    direction = most_negative(problem)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    before = problem.cost.gradient_equivalents + fresh.cost.gradient_equivalents
    found, again = (audit(problem, direction, fresh=fresh) for _ in range(2))
    spent = problem.cost.gradient_equivalents + fresh.cost.gradient_equivalents - before
    assert found.gradient_equivalents + again.gradient_equivalents == pytest.approx(spent)
    assert [row.batch_size for row in found.batch_sizes] == [32]
    assert found.verdict is again.verdict and found.batch_sizes == again.batch_sizes
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in state.items())
    assert torch.equal(torch.get_rng_state(), random)


def test_another_point_is_audited_as_if_the_model_stood_there():
    known = saddle()
    there = known.problem.params() + 0.2
    direction = torch.linalg.eigh(known.hessian_at(there)).eigenvectors[:, 0]
    elsewhere = audit(known.problem, direction, params=there, fresh=known.problem)
    known.problem.set_params(there)
    here = audit(known.problem, direction, fresh=known.problem)
    assert elsewhere.curvature == pytest.approx(here.curvature) and elsewhere.verdict is here.verdict
    assert elsewhere.held_out.mean == pytest.approx(here.held_out.mean)
    assert [r.smooth for r in elsewhere.steps] == pytest.approx([r.smooth for r in here.steps])


def test_differences_of_gradients_can_be_audited_too():
    known = saddle()
    direction = torch.linalg.eigh(known.hessian).eigenvectors[:, 0]
    found = audit(known.problem, direction, method="finite-difference")
    assert found.verdict is AuditVerdict.REAL
    assert all(math.isnan(row.smooth) and not row.has_kinks for row in found.steps)


def test_a_curvature_that_is_not_finite_stays_undecided():
    problem = function_problem(lambda x: (x * 0).sqrt().sum(), ONE.clone())
    found = audit(problem, ONE, **QUICK)
    assert found.verdict is AuditVerdict.UNDECIDED and math.isnan(found.curvature) and "nan" in found.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": torch.zeros(5).double()}, "length 0"),
        ({"direction": torch.ones(5, 2).double()}, "one direction"),
        ({"direction": "gradient"}, "one direction"),
        ({"alpha": 0.7}, "alpha=0.7"),
        ({"num_groups": 1}, "num_groups=1"),
        ({"steps": (0.1, -1.0)}, "above 0"),
        ({"batch_sizes": (30,)}, "between 1 and 29"),
        ({"params": torch.ones(4).double()}, r"shape \(4,\)"),
        ({"fresh": least_squares(num_features=3).problem}, "fresh varies 3 parameters"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(settings, message):
    problem = least_squares(num_samples=30).problem
    with pytest.raises(ValueError, match=message):
        audit(problem, **{"direction": torch.ones(5).double(), **settings})
    assert problem.cost.samples == 0


def test_the_operator_of_a_place_is_at_its_point():
    known = saddle()
    there = known.problem.params() + 1
    operator = Place(known.problem.objective, there, "autograd").hessian()
    assert isinstance(operator, Hessian)
    torch.testing.assert_close(operator.to_dense(), known.hessian_at(there))
