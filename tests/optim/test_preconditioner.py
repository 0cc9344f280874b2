"""A preconditioner is a change of variables: what it promises, against dense matrices and explicit substitution."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from landscape.operators.matrix import MatrixOperator
from landscape.optim.conjugate_gradient import ConjugateGradient
from landscape.optim.lbfgs import LBFGS
from landscape.optim.preconditioner import (
    AsymmetricPreconditionerError,
    DiagonalPreconditioner,
    FunctionPreconditioner,
    PreconditionedOperator,
    Preconditioner,
    RitzPreconditioner,
    as_preconditioner,
    from_adam,
    restored,
    ritz_preconditioner,
    saved,
)
from tests.optim.known_losses import Counting, parameter, positive_definite, rosenbrock, wood

N = 7
OPTIMIZERS = {
    "adam": lambda params: torch.optim.Adam(params, lr=0.1, betas=(0.0, 0.9), eps=0.0),
    "amsgrad": lambda params: torch.optim.Adam(params, lr=0.1, betas=(0.0, 0.9), eps=0.0, amsgrad=True),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.1, betas=(0.0, 0.99), eps=0.0, weight_decay=0.0),
    "nadam": lambda params: torch.optim.NAdam(params, lr=0.1, betas=(0.0, 0.9), eps=0.0),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.1, eps=0.0),
    "centred": lambda params: torch.optim.RMSprop(params, lr=0.1, eps=0.0, centered=True),
}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(preconditioner: Preconditioner, size: int = N) -> Tensor:
    """S, column by column."""
    columns = torch.eye(size, dtype=torch.float64)
    return torch.stack([preconditioner.scale(column) for column in columns], dim=1)


def symmetric_product(vector: Tensor) -> Tensor:
    return positive_definite(N, 5.0, torch.Generator().manual_seed(3)) @ vector


def every_kind() -> Mapping[str, Preconditioner]:
    diagonal = DiagonalPreconditioner(numbers(N).exp())
    vectors = torch.linalg.qr(numbers(N, 3, seed=1)).Q
    eigenvalues = torch.tensor([8.0, -3.0, 2.0], dtype=torch.float64)
    return {
        "diagonal": diagonal,
        "ritz": RitzPreconditioner(eigenvalues, vectors),
        "ritz on diagonal": RitzPreconditioner(eigenvalues, vectors, diagonal),
        "function": FunctionPreconditioner(symmetric_product, [parameter(torch.zeros(N))]),
    }


@pytest.mark.parametrize("kind", every_kind())
def test_both_products_are_those_of_one_matrix_and_its_transpose(kind: str) -> None:
    preconditioner, vector = every_kind()[kind], numbers(N, seed=5)
    S, before = dense(preconditioner), vector.clone()
    torch.testing.assert_close(preconditioner.scale(vector), S @ vector)
    torch.testing.assert_close(preconditioner.scale_transposed(vector), S.T @ vector)
    P = torch.stack([preconditioner.scale(preconditioner.scale_transposed(e)) for e in torch.eye(N).double()], dim=1)
    torch.testing.assert_close(P, S @ S.T)
    assert float(torch.linalg.eigvalsh(P)[0]) > 0
    assert torch.equal(vector, before), "the vector given was changed"


def test_the_result_is_never_the_vector_given() -> None:
    """Optimisers overwrite directions in place."""
    vector = numbers(N)
    assert FunctionPreconditioner(lambda v: v, [vector]).scale(vector).data_ptr() != vector.data_ptr()


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=5), st.integers(0, 10_000))
def test_a_tensor_or_a_list_of_tensors_is_the_diagonal_of_p(entries: list[float], seed: int) -> None:
    P, gradient = torch.tensor(entries, dtype=torch.float64), numbers(len(entries), seed=seed)
    params = [parameter(torch.zeros(1)) for _ in entries]
    for form in (P, P.float().double(), list(P[:, None]), tuple(P[:, None])):
        made = as_preconditioner(form, params)
        assert made is not None
        torch.testing.assert_close(made.scale(made.scale_transposed(gradient)), P * gradient, rtol=1e-6, atol=0.0)


# -- Adam's second moment ---------------------------------------------------------------------------------------------


def trained(
    make: Callable[..., torch.optim.Optimizer], num_steps: int = 3
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    params = [parameter([-1.2, 1.0]), parameter([[0.5, 0.3]])]
    optimizer = make(params)
    for _ in range(num_steps):
        optimizer.zero_grad()
        rosenbrock(torch.cat([param.reshape(-1) for param in params])).backward()
        optimizer.step()
    return optimizer, params


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw", "rmsprop", "centred"])
def test_without_floor_minus_the_rate_times_p_times_g_is_the_optimisers_own_next_step(name: str) -> None:
    """Without momentum, and with an epsilon of 0: Kingma, Ba (2015), algorithm 1."""
    optimizer, params = trained(OPTIMIZERS[name])
    optimizer.zero_grad()
    rosenbrock(torch.cat([param.reshape(-1) for param in params])).backward()
    before = [param.detach().clone() for param in params]
    gradient = torch.cat([param.grad.reshape(-1) for param in params])
    optimizer.step()
    moved = torch.cat([(param.detach() - start).reshape(-1) for param, start in zip(params, before, strict=True)])
    made = from_adam(optimizer, params, floor=0.0)
    assert made is not None
    torch.testing.assert_close(moved, -0.1 * made.scale(made.scale_transposed(gradient)))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_floor_is_a_part_of_the_largest_root(name: str) -> None:
    optimizer, params = trained(OPTIMIZERS[name])
    bare, floored = from_adam(optimizer, params, floor=0.0), from_adam(optimizer, params, floor=0.25)
    assert bare is not None and floored is not None
    roots = bare.diagonal**-2
    torch.testing.assert_close(floored.diagonal**-2, roots + 0.25 * roots.max())


def test_scaling_the_loss_scales_p_by_the_inverse() -> None:
    """Why P is not normalised: the learning rate goes on to mean what it meant."""
    made = []
    for factor in (1.0, 100.0):
        x = parameter([1.0, 2.0])
        adam = torch.optim.Adam([x])
        x.grad = factor * torch.tensor([3.0, -1.0], dtype=torch.float64)
        adam.step()
        made.append(from_adam(adam, [x]))
    torch.testing.assert_close(made[0].diagonal ** 2, 100.0 * made[1].diagonal ** 2)


def test_a_parameter_that_was_never_moved_has_the_mean_second_moment_of_the_others() -> None:
    moved, frozen = parameter([1.0, 2.0]), parameter([3.0])
    adam = torch.optim.Adam([moved, frozen])
    moved.grad = torch.tensor([3.0, 1.0], dtype=torch.float64)
    adam.step()
    elsewhere = parameter([1.0])
    for other in (frozen, elsewhere):
        made = from_adam(adam, [other, moved], floor=0.0)
        torch.testing.assert_close(made.diagonal**-4, torch.tensor([5.0, 9.0, 1.0], dtype=torch.float64))


def test_a_coordinate_without_gradient_has_the_largest_finite_scale() -> None:
    x = parameter([1.0, 2.0])
    adam = torch.optim.Adam([x])
    x.grad = torch.tensor([4.0, 0.0], dtype=torch.float64)
    adam.step()
    torch.testing.assert_close(from_adam(adam, [x], floor=0.1).diagonal ** -2, torch.tensor([4.4, 0.4]).double())


@pytest.mark.parametrize("gradient", [None, [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_there_is_no_metric_where_adam_has_learned_nothing_usable(gradient: list[float] | None) -> None:
    x = parameter([1.0, 2.0])
    adam = torch.optim.Adam([x])
    if gradient is not None:
        x.grad = torch.tensor(gradient, dtype=torch.float64)
        adam.step()
    assert from_adam(adam, [x]) is None
    with pytest.raises(ValueError, match=r"precond=Adam has no scale for these parameters.*take_over"):
        as_preconditioner(adam, [x])


def test_other_optimisers_have_no_metric() -> None:
    optimizer, params = trained(lambda params: torch.optim.SGD(params, lr=1e-3, momentum=0.9))
    assert from_adam(optimizer, params) is None
    with pytest.raises(
        ValueError, match="SGD keeps no second moment of the gradients; one of Adam, AdamW, NAdam, RMSprop"
    ):
        as_preconditioner(optimizer, params)


def test_float32_moments_whose_roots_are_tiny_or_huge_stay_finite() -> None:
    x = parameter([1.0, 2.0], dtype=torch.float32)
    adam = torch.optim.Adam([x])
    x.grad = torch.tensor([1e18, 1e-18])
    adam.step()
    made = from_adam(adam, [x], floor=1e-6)
    assert made.diagonal.dtype == torch.float32
    torch.testing.assert_close(made.diagonal.double() ** -2, torch.tensor([1e18, 1e12]).double(), rtol=1e-5, atol=0.0)


# -- measured curvature -----------------------------------------------------------------------------------------------


def hessian_with(eigenvalues: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    values, basis = torch.tensor(eigenvalues, dtype=torch.float64), torch.linalg.qr(numbers(N, N, seed=2)).Q
    return (basis * values) @ basis.T, values, basis


@pytest.mark.parametrize("with_base", [False, True])
def test_exact_eigenpairs_become_one_curvature_and_the_rest_stays(with_base: bool) -> None:
    base = DiagonalPreconditioner(numbers(N).exp()) if with_base else None
    D = torch.eye(N).double() if base is None else torch.diag(base.diagonal)
    scaled, values, basis = hessian_with([-40.0, -0.5, 0.01, 1.0, 2.0, 9.0, 300.0])
    H = torch.linalg.inv(D) @ scaled @ torch.linalg.inv(D)
    leading = [0, 5, 6]
    S = dense(RitzPreconditioner(values[leading], basis[:, leading], base))
    found = torch.linalg.eigvalsh(S.T @ H @ S)
    expected = torch.tensor([-9.0, -0.5, 0.01, 1.0, 2.0, 9.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_pairs_of_the_hessian_itself_are_carried_over_exactly_where_they_are_all_of_it() -> None:
    """With H of rank k, D V Lambda V' D is the whole of D H D."""
    H, values, basis = hessian_with([-40.0, 0.0, 0.0, 0.0, 0.0, 9.0, 300.0])
    base, leading = DiagonalPreconditioner(numbers(N).exp()), [0, 5, 6]
    S = dense(RitzPreconditioner.from_ritz_pairs(values[leading], basis[:, leading], base))
    found = torch.linalg.eigvalsh(S.T @ H @ S)
    mu = float(torch.linalg.eigvalsh(torch.diag(base.diagonal) @ H @ torch.diag(base.diagonal)).abs().sort().values[-3])
    torch.testing.assert_close(found, mu * torch.tensor([-1.0, 0, 0, 0, 0, 1, 1]).double(), rtol=1e-8, atol=1e-9 * mu)


def test_without_base_pairs_are_taken_as_they_are() -> None:
    _, values, basis = hessian_with([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    direct = RitzPreconditioner(values[4:], basis[:, 4:])
    carried = RitzPreconditioner.from_ritz_pairs(values[4:], basis[:, 4:])
    torch.testing.assert_close(dense(carried), dense(direct))


@given(st.integers(1, N), st.integers(0, 10_000))
def test_vectors_that_are_not_orthonormal_give_a_positive_metric_all_the_same(count: int, seed: int) -> None:
    base = DiagonalPreconditioner(numbers(N, seed=seed).exp())
    made = RitzPreconditioner.from_ritz_pairs(numbers(count, seed=seed + 1), numbers(N, count, seed=seed + 2), base)
    S = dense(made)
    assert float(torch.linalg.eigvalsh(S @ S.T)[0]) > 0
    inside = torch.diag(1 / base.diagonal) @ S
    torch.testing.assert_close(inside, inside.T, rtol=1e-8, atol=1e-10)
    assert float(torch.linalg.eigvalsh(inside)[-1]) <= 1 + 1e-8


def test_pairs_that_are_rounding_are_left_out() -> None:
    _, _, basis = hessian_with([1.0] * N)
    made = RitzPreconditioner.from_ritz_pairs(torch.tensor([5.0, 1e-14]).double(), basis[:, :2])
    assert len(made.gains) == 1
    torch.testing.assert_close(dense(made), torch.eye(N).double())


@pytest.mark.parametrize("with_base", [False, True])
def test_lanczos_measures_the_leading_pairs_in_the_variables_of_the_base(with_base: bool) -> None:
    """All n products make the Ritz pairs exact: Parlett (1998), chapter 13."""
    base = DiagonalPreconditioner(numbers(N).exp()) if with_base else None
    D = torch.eye(N).double() if base is None else torch.diag(base.diagonal)
    scaled, _, _ = hessian_with([-40.0, -0.5, 0.01, 1.0, 2.0, 9.0, 300.0])
    operator = MatrixOperator(torch.linalg.inv(D) @ scaled @ torch.linalg.inv(D))
    made = ritz_preconditioner(operator, 3, base=base, num_matvecs=N)
    assert operator.num_matvecs == N
    found = torch.linalg.eigvalsh(PreconditionedOperator(operator, made).to_dense())
    expected = torch.tensor([-9.0, -0.5, 0.01, 1.0, 2.0, 9.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_no_more_is_spent_than_asked_for_and_unconverged_pairs_still_make_a_metric() -> None:
    generator = torch.Generator().manual_seed(0)
    operator = MatrixOperator(positive_definite(60, 1e6, generator))
    made = ritz_preconditioner(operator, 4, num_matvecs=4, generator=generator)
    assert (operator.num_matvecs, len(made.gains)) == (4, 4)
    ends = torch.linalg.eigvalsh(PreconditionedOperator(operator, made).to_dense())
    before = torch.linalg.eigvalsh(operator.to_dense())
    assert 0 < float(ends[-1] / ends[0]) < float(before[-1] / before[0])


def test_pairs_that_are_noise_are_not_kept() -> None:
    x = numbers(N)
    made = ritz_preconditioner(MatrixOperator(torch.outer(x, x)), 5, num_matvecs=N)
    assert len(made.gains) == 1


def test_without_curvature_or_finite_products_there_is_nothing_to_measure() -> None:
    class Broken(MatrixOperator):
        def _matvec(self, vector: Tensor) -> Tensor:
            return super()._matvec(vector) / 0

    assert ritz_preconditioner(MatrixOperator(torch.zeros(N, N)), 2) is None
    assert ritz_preconditioner(Broken(torch.eye(N)), 2) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_pairs": 0}, "num_pairs=0 and num_matvecs=None"),
        ({"num_pairs": 5, "num_matvecs": 4}, "num_pairs=5 and num_matvecs=4.*a product for each"),
        ({"base": DiagonalPreconditioner(torch.ones(3))}, "base scales 3 parameters in torch.float32"),
    ],
)
def test_a_measurement_that_cannot_be_made_is_refused_before_any_product(settings, message) -> None:
    operator = MatrixOperator(torch.eye(N))
    with pytest.raises(ValueError, match=message):
        ritz_preconditioner(operator, **settings)
    assert operator.num_matvecs == 0


# -- the optimiser ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        ConjugateGradient,
        functools.partial(ConjugateGradient, line_search="golden"),
        functools.partial(ConjugateGradient, line_search="hager-zhang"),
        functools.partial(LBFGS, history=3),
    ],
    ids=["cg", "cg-golden", "cg-hager-zhang", "lbfgs"],
)
@pytest.mark.parametrize(("loss", "start"), [(rosenbrock, [-1.2, 1.0, 0.5, 0.3]), (wood, [-3.0, -1.0, -3.0, -1.0])])
def test_a_preconditioned_method_is_the_plain_one_after_the_substitution(make, loss, start) -> None:
    """With S of powers of two the substitution is exact in floating point, so the runs agree to the last bit."""
    S = torch.tensor([2.0, 0.5, 1.0, 0.125], dtype=torch.float64)
    x, y = parameter(start), parameter(torch.tensor(start, dtype=torch.float64) / S)
    in_x, in_y = make([x], precond=S**2), make([y], precond=None)
    closure_x, closure_y = Counting(loss, x), Counting(lambda y: loss(S * y), y)
    for _ in range(12):
        in_x.step(closure_x)
        in_y.step(closure_y)
        assert torch.equal(x, S * y)
        assert (in_x.last.loss, in_x.last.step_size) == (in_y.last.loss, in_y.last.step_size)
        torch.testing.assert_close(x.grad, y.grad / S)
    assert in_x.last.loss < 0.1 * closure_x.losses[0]


def test_with_the_inverse_hessian_as_metric_cg_needs_one_step() -> None:
    H = positive_definite(N, 1e4, torch.Generator().manual_seed(4))
    values, vectors = torch.linalg.eigh(H)
    x = parameter(numbers(N))
    optimizer = ConjugateGradient([x], precond=RitzPreconditioner(values, vectors), xtol=0.1)
    closure = Counting(lambda x: 0.5 * x @ H @ x, x)
    start = float(closure().detach())
    for _ in range(2):  # the first trial is a guess
        optimizer.step(closure)
    assert optimizer.last.loss < 1e-20 * start


@pytest.mark.parametrize("kind", every_kind())
def test_a_resumed_run_takes_the_same_steps_bit_for_bit(kind: str) -> None:
    H = positive_definite(N, 1e3, torch.Generator().manual_seed(4))
    x = parameter(numbers(N))
    optimizer = ConjugateGradient([x], precond=every_kind()[kind])
    closure = Counting(lambda x: 0.5 * x @ H @ x + (x**4).sum(), x)
    for _ in range(4):
        optimizer.step(closure)
    buffer = io.BytesIO()
    torch.save({"x": x.detach(), "optimizer": optimizer.state_dict()}, buffer)
    loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    y = parameter(loaded["x"])
    resumed = ConjugateGradient([y], precond=every_kind()["function"] if kind == "function" else None)
    resumed.load_state_dict(loaded["optimizer"])
    again = Counting(closure.loss, y)
    for _ in range(4):
        optimizer.step(closure)
        resumed.step(again)
        assert torch.equal(x, y)


# -- checkpoints ------------------------------------------------------------------------------------------------------


class Doubling:
    """A preconditioner of somebody else's."""

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor

    def scale(self, vector: Tensor) -> Tensor:
        return self.factor * vector

    scale_transposed = scale

    def tensors(self) -> dict[str, Tensor]:
        return {"factor": self.factor}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Doubling:
        return cls(tensors["factor"])


@pytest.mark.parametrize("kind", every_kind())
def test_what_was_saved_is_restored_exactly(kind: str) -> None:
    preconditioner = every_kind()[kind]
    again = restored(saved(preconditioner), every_kind()["function"])
    assert type(again) is type(preconditioner)
    assert torch.equal(dense(again), dense(preconditioner))


def test_none_is_restored_as_none() -> None:
    assert saved(None) == {}
    assert restored(saved(None), every_kind()["diagonal"]) is None


def test_somebody_elses_class_is_restored_from_its_tensors_if_an_object_of_it_is_there() -> None:
    three, one = Doubling(torch.tensor(3.0).double()), Doubling(torch.tensor(1.0).double())
    assert float(restored(saved(three), one).factor) == 3.0
    with pytest.raises(ValueError, match=r"saved with precond=.*Doubling, .*without one.*same precond"):
        restored(saved(three), None)


def test_a_function_is_restored_only_if_the_same_one_is_given() -> None:
    mine = every_kind()["function"]
    other = FunctionPreconditioner(lambda v: 2 * v, [numbers(N)])
    assert restored(saved(mine), mine) is mine
    with pytest.raises(ValueError, match="precond=function symmetric_product, .*with function .*lambda"):
        restored(saved(mine), other)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_not_positive_and_finite_is_refused(entry: float) -> None:
    with pytest.raises(ValueError, match=r"scale has 1 of 3 entries.*not positive finite.*at 1"):
        DiagonalPreconditioner(torch.tensor([1.0, entry, 2.0]))
    with pytest.raises(ValueError, match=r"precond has 1 of 3 entries"):
        as_preconditioner(torch.tensor([1.0, entry, 2.0]), [parameter([0.0, 0.0, 0.0])])


def test_a_p_that_is_not_positive_in_the_parameters_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="not positive finite numbers in torch.float32"):
        as_preconditioner(
            torch.tensor([1e-100, 1.0], dtype=torch.float64), [parameter([0.0, 0.0], dtype=torch.float32)]
        )


@pytest.mark.parametrize(
    ("precond", "error", "message"),
    [
        ("rprop", ValueError, "no precond='rprop'. Give None, 'adam'"),
        (3.0, TypeError, "precond is a float. Give None"),
        (torch.optim.Adam, TypeError, "Adam is a class; an object of it is needed"),
        (torch.ones(3), ValueError, r"shape \(3,\); the diagonal of P is needed, real and of shape \(7,\)"),
        (torch.ones(N, dtype=torch.complex64), ValueError, "complex64"),
        ([torch.ones(N), torch.ones(1)], ValueError, r"the tensors \[\(7,\), \(1,\)\] \(2\), but .* \[\(7,\)\] \(1\)"),
        ([1.0] * N, ValueError, r"\[float, float, float, float, ...\] \(7\)"),
        (
            DiagonalPreconditioner(torch.ones(3).double()),
            ValueError,
            r"scale failed on a torch.float64 vector of shape \(7,\)",
        ),
        (lambda v: [v], TypeError, "returned a list; S v as a tensor"),
        (lambda v: v[:2], ValueError, r"shape \(2,\).*Return S v like v"),
        (lambda v: v.float(), ValueError, "float32"),
        (lambda v: v / 0, ValueError, "NaN or infinity"),
        (lambda v: v.mul_(2), ValueError, "changed the vector"),
    ],
)
def test_what_cannot_be_a_preconditioner_is_refused_with_what_could(precond, error, message) -> None:
    with pytest.raises(error, match=message):
        as_preconditioner(precond, [parameter(numbers(N))])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [2, 1000])
def test_a_function_that_is_not_symmetric_is_refused(dtype: torch.dtype, size: int) -> None:
    matrix = numbers(size, size).to(dtype)
    with pytest.raises(AsymmetricPreconditionerError, match=r"not symmetric: .* u'Sv is .* and v'Su is "):
        as_preconditioner(lambda v: matrix @ v, [parameter(numbers(size), dtype)])
    made = as_preconditioner(lambda v: (matrix + matrix.T) @ v, [parameter(numbers(size), dtype)])
    assert isinstance(made, FunctionPreconditioner)


@pytest.mark.parametrize(
    ("eigenvalues", "vectors", "base", "message"),
    [
        (torch.ones(3), torch.eye(N)[:, :2], None, r"\(3,\) and vectors \(7, 2\); \(k,\) and \(n, k\) are needed"),
        (torch.tensor([1.0, math.nan]), torch.eye(N)[:, :2], None, "finite"),
        (torch.tensor([1.0, 0.0]), torch.eye(N)[:, :2], None, "an eigenvalue is 0"),
        (torch.ones(2), torch.ones(N, 2), None, "not orthonormal.*Use from_ritz_pairs"),
        (torch.ones(2), torch.eye(N)[:, :2], DiagonalPreconditioner(torch.ones(3)), "base scales 3 parameters"),
    ],
)
def test_pairs_that_are_none_are_refused(eigenvalues, vectors, base, message) -> None:
    with pytest.raises(ValueError, match=message):
        RitzPreconditioner(eigenvalues, vectors, base)


def test_pairs_without_curvature_are_refused() -> None:
    with pytest.raises(ValueError, match="all eigenvalues are 0"):
        RitzPreconditioner.from_ritz_pairs(torch.zeros(2), torch.eye(N)[:, :2])


def test_a_floor_below_zero_is_refused() -> None:
    optimizer, params = trained(OPTIMIZERS["adam"])
    with pytest.raises(ValueError, match="floor=-1.0 was given"):
        from_adam(optimizer, params, floor=-1.0)
