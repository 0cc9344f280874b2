from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.probes.lanczos.basis import Basis
from landscape.probes.lanczos.block import BlockKrylovSpace
from landscape.probes.lanczos.krylov import KrylovSpace
from landscape.probes.lanczos.thick_restart import ThickRestartSpace
from landscape.probes.lanczos.two_pass import TwoPassSpace
from landscape.status import Status
from landscape.vectors import dot_on_device
from tests.probes.known_spectra import (
    BrokenOperator,
    DiagonalOperator,
    InterruptedOperator,
    operator_with,
    spectra,
    vision_transformer_like,
)

KINDS = spectra()


def grown(space, steps):
    for _ in range(steps):
        if space.status is not Status.RUNNING:
            break
        space.extend()
    return space


@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("kind", ["well_conditioned", "indefinite", "one_outlier", "clustered"])
def test_the_lanczos_relation_holds(kind, steps, generator):
    """A Q = Q T + beta q e', with orthonormal rows of Q here."""
    operator = operator_with(KINDS[kind], generator)
    space = grown(KrylovSpace(operator, torch.randn(40, dtype=torch.float64, generator=generator)), steps)
    Q, T = space.basis, space.tridiagonal()
    rest = Q @ operator.matrix - T @ Q
    rest[-1] -= space.betas[-1] * space.next_vector
    assert rest.abs().max() <= 1e-13 * space.norm_estimate
    torch.testing.assert_close(Q @ Q.T, torch.eye(steps, dtype=torch.float64), rtol=0, atol=1e-14)
    assert operator.num_matvecs == space.num_steps == steps


@pytest.mark.parametrize("steps", [1, 5, 29])
@pytest.mark.parametrize("kind", KINDS)
def test_each_ritz_value_is_within_its_residual_norm_of_an_eigenvalue(kind, steps, generator):
    """For symmetric A and a unit vector y, some eigenvalue lies within ||Ay - theta y|| of theta."""
    operator = operator_with(KINDS[kind], generator)
    space = grown(KrylovSpace(operator, torch.randn(40, dtype=torch.float64, generator=generator)), steps)
    values, _, residuals = space.ritz()
    vectors = space.ritz_vectors(list(range(len(values))))
    actual = (vectors @ operator.matrix - values[:, None] * vectors).norm(dim=1)
    rounding = 1e-13 * space.norm_estimate
    torch.testing.assert_close(actual, residuals, rtol=1e-6, atol=rounding)
    distances = (values[:, None] - KINDS[kind]).abs().amin(dim=1)
    assert (distances <= residuals + rounding).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_at_full_depth_the_distinct_eigenvalues_are_found(kind, dtype, generator):
    eigenvalues = KINDS[kind]
    operator = operator_with(eigenvalues.to(dtype), generator)
    space = grown(KrylovSpace(operator, torch.randn(40, dtype=dtype, generator=generator)), 40)
    values = space.ritz().values
    allowed = 50 * torch.finfo(dtype).eps * float(eigenvalues.abs().max())
    assert space.status is Status.BREAKDOWN
    assert abs(values[0] - eigenvalues.min()) <= allowed
    assert abs(values[-1] - eigenvalues.max()) <= allowed
    assert (values[:, None] - eigenvalues).abs().amin(dim=1).max() <= allowed


@given(
    # Squares of numbers below 1e-150 underflow, so that nothing could be orthogonalised.
    eigenvalues=st.lists(st.floats(-1, 1).filter(lambda x: x == 0 or abs(x) > 1e-100), min_size=1, max_size=12),
    exponent=st.integers(-6, 6),
    seed=st.integers(0, 1000),
)
def test_any_spectrum_at_any_scale_is_found_by_as_many_steps_as_it_has_values(eigenvalues, exponent, seed):
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.tensor(eigenvalues, dtype=torch.float64) * 10.0**exponent
    operator = operator_with(spectrum, generator)
    n = len(spectrum)
    space = grown(KrylovSpace(operator, torch.randn(n, dtype=torch.float64, generator=generator)), n)
    values = space.ritz().values
    assert space.status is Status.BREAKDOWN
    assert space.num_steps <= n
    rounding = 1e-13 * max(float(spectrum.abs().max()), 1e-300)
    assert (values[:, None] - spectrum).abs().amin(dim=1).max() <= rounding
    assert space.orthogonality_defect() <= 1e-13


def test_an_outlier_is_found_once_in_200_float32_steps(generator):
    """Without reorthogonalisation copies of lambda_max appear; with it there is one."""
    eigenvalues = vision_transformer_like().float()
    space = grown(KrylovSpace(DiagonalOperator(eigenvalues), torch.randn(3000, generator=generator)), 200)
    copies = (space.ritz().values - 29.3571).abs() < 1e-3
    assert int(copies.sum()) == 1
    assert space.orthogonality_defect() < 1e-6
    assert space.stray < 1e-5 * 29.4


def test_two_pass_shows_the_copies_that_a_basis_avoids(generator):
    """The test above can fail: the same recurrence without a basis finds lambda_max several times."""
    eigenvalues = vision_transformer_like().float()
    space = grown(TwoPassSpace(DiagonalOperator(eigenvalues), torch.randn(3000, generator=generator)), 200)
    assert int(((space.ritz().values - 29.3571).abs() < 1e-3).sum()) > 3


def test_stray_measures_an_asymmetric_product(generator):
    skew = torch.randn(40, 40, dtype=torch.float64, generator=generator)
    skew = 1e-3 * (skew - skew.T)

    class Asymmetric(DiagonalOperator):
        def _matvec(self, vector):
            return super()._matvec(vector) + skew @ vector

    start = torch.randn(40, dtype=torch.float64, generator=generator)
    honest = grown(KrylovSpace(DiagonalOperator(KINDS["indefinite"]), start), 15)
    crooked = grown(KrylovSpace(Asymmetric(KINDS["indefinite"]), start), 15)
    assert honest.stray < 1e-13
    assert 1e-4 < crooked.stray < 1e-1
    assert crooked.stray <= crooked.stray_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [1, 3])
def test_a_matrix_of_low_rank_breaks_the_space_down(dtype, rank, generator):
    """Rank r and the null space: r + 1 steps, and one more where rounding shows itself as a vector first."""
    eigenvalues = torch.zeros(300, dtype=dtype)
    eigenvalues[:rank] = torch.arange(1, rank + 1)
    operator = operator_with(eigenvalues, generator)
    space = grown(KrylovSpace(operator, torch.randn(300, dtype=dtype, generator=generator)), 20)
    assert space.status is Status.BREAKDOWN
    assert rank + 1 <= space.num_steps <= rank + 2
    assert space.next_vector is None
    values = space.ritz().values
    assert (values[:, None] - eigenvalues).abs().amin(dim=1).max() < 100 * torch.finfo(dtype).eps


def test_a_small_coupling_is_not_taken_for_a_breakdown(generator):
    """Couplings at sqrt(epsilon) still lead to eigenvalues; only those at epsilon do not."""
    A = torch.diag(torch.tensor([1.0, 2.0, 3.0, 50.0], dtype=torch.float64))
    A[1, 2] = A[2, 1] = 1e-9
    operator = operator_with(torch.ones(4, dtype=torch.float64), generator)
    operator.matrix = A
    space = grown(KrylovSpace(operator, torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)), 4)
    assert space.num_steps == 3
    assert abs(space.ritz().values[-1] - 3.0) < 1e-12


def test_a_product_with_nan_ends_the_space_with_what_was_known(generator):
    space = grown(KrylovSpace(BrokenOperator(KINDS["indefinite"], at=4), torch.ones(40).double()), 10)
    assert space.status is Status.NONFINITE_PRODUCT
    assert space.num_steps == 3
    assert torch.isfinite(space.ritz().values).all()
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        space.extend()


def test_coefficients_fetched_every_few_steps_are_the_same(generator):
    """As on a device where looking means waiting."""
    start = torch.randn(40, dtype=torch.float64, generator=generator)
    each, some = (KrylovSpace(DiagonalOperator(KINDS["indefinite"]), start) for _ in range(2))
    some.sync_every = 5
    grown(each, 12)
    grown(some, 12)
    torch.testing.assert_close(each.alphas, some.alphas)
    torch.testing.assert_close(each.betas, some.betas)
    singular = KrylovSpace(
        DiagonalOperator(torch.tensor([1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]).double()), torch.ones(7).double()
    )
    singular.sync_every = 5
    grown(singular, 5)
    assert singular.status is Status.BREAKDOWN
    assert singular.num_steps == 2
    broken = KrylovSpace(BrokenOperator(KINDS["indefinite"], at=4), torch.ones(40).double())
    broken.sync_every = 5
    grown(broken, 5)
    assert (broken.status, broken.num_steps) == (Status.NONFINITE_PRODUCT, 3)


def test_an_interrupted_step_can_be_repeated(generator):
    start = torch.randn(40, dtype=torch.float64, generator=generator)
    space = KrylovSpace(InterruptedOperator(KINDS["indefinite"], at=5), start)
    with pytest.raises(KeyboardInterrupt):
        grown(space, 10)
    assert space.num_steps == 4
    grown(space, 4)
    undisturbed = grown(KrylovSpace(DiagonalOperator(KINDS["indefinite"]), start), 8)
    assert torch.equal(space.alphas, undisturbed.alphas)


def test_an_operator_that_returns_its_argument_does_no_harm(generator):
    class Identity(DiagonalOperator):
        def _matvec(self, vector):
            return vector

    space = grown(KrylovSpace(Identity(torch.ones(30)), torch.randn(30, generator=generator)), 5)
    assert space.status is Status.BREAKDOWN
    assert space.ritz().values.tolist() == pytest.approx([1.0])


def test_memory_limits_the_rows_that_are_allocated(generator):
    operator = DiagonalOperator(KINDS["indefinite"])
    space = KrylovSpace(operator, torch.ones(40).double(), max_memory=10 * 40 * 8 + 7)
    taken = 0
    while space.has_room:
        space.extend()
        taken += 1
    assert taken == 9
    assert sum(chunk.numel() * 8 for chunk in space._basis._chunks) <= 10 * 40 * 8
    with pytest.raises(RuntimeError, match="10 vectors"):
        space.extend()


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (torch.ones(39).double(), r"shape \(39,\).*\(40,\)"),
        (torch.zeros(40).double(), "length 0"),
        (torch.full((40,), torch.nan).double(), "length nan"),
        (torch.ones(40), "float32.*float64"),
        ([1.0] * 40, "list"),
    ],
)
def test_a_bad_start_is_refused_before_any_product(start, message):
    operator = DiagonalOperator(KINDS["indefinite"])
    with pytest.raises(ValueError, match=message):
        KrylovSpace(operator, start)
    assert operator.num_matvecs == 0


def test_half_precision_and_too_little_memory_are_refused():
    with pytest.raises(ValueError, match="bfloat16.*float32"):
        KrylovSpace(DiagonalOperator(torch.ones(4, dtype=torch.bfloat16)), torch.ones(4, dtype=torch.bfloat16))
    with pytest.raises(ValueError, match=r"640 bytes"):
        KrylovSpace(DiagonalOperator(KINDS["indefinite"]), torch.ones(40).double(), max_memory=639)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_restarted_space_is_still_the_projection_of_the_matrix(dtype, generator):
    """Q A Q' is the arrowhead continued by a tridiagonal part, and A Q = Q T + beta q e' beside it."""
    operator = operator_with(KINDS["indefinite"].to(dtype), generator)
    space = ThickRestartSpace(
        operator, torch.randn(40, dtype=dtype, generator=generator), max_memory=12 * 40 * operator.matrix.element_size()
    )
    for _ in range(40):
        if not space.has_room:
            space.restart(3, 2)
        space.extend()
    Q, eps = space.basis, torch.finfo(dtype).eps
    assert space.num_restarts > 3
    assert space.orthogonality_defect() < 50 * eps
    assert ((Q @ operator.matrix @ Q.T).double() - space.projected()).abs().max() < 100 * eps
    ritz = space.ritz()
    vectors = space.ritz_vectors([0, space.dimension - 1])
    actual = (vectors @ operator.matrix - ritz.values[[0, -1]].to(dtype)[:, None] * vectors).norm(dim=1)
    torch.testing.assert_close(actual.double(), ritz.residual_norms[[0, -1]], rtol=1e-6, atol=100 * eps)


def test_right_after_a_restart_the_kept_pairs_are_those_of_before(generator):
    space = ThickRestartSpace(operator_with(KINDS["indefinite"], generator), torch.ones(40).double())
    before = grown(space, 15).ritz()
    space.restart(2, 3)
    after = space.ritz()
    kept = [0, 1, 12, 13, 14]
    torch.testing.assert_close(after.values, before.values[kept])
    torch.testing.assert_close(after.residual_norms, before.residual_norms[kept], rtol=1e-6, atol=1e-12)
    with pytest.raises(ValueError, match="keep fewer"):
        space.restart(3, 3)


def test_two_passes_rebuild_the_vectors_of_the_first(generator):
    operator = operator_with(KINDS["indefinite"], generator)
    space = grown(TwoPassSpace(operator, torch.randn(40, dtype=torch.float64, generator=generator)), 15)
    ritz, vectors = space.ritz(), space.ritz_vectors([0, 14])
    actual = (vectors @ operator.matrix - ritz.values[[0, -1]][:, None] * vectors).norm(dim=1)
    torch.testing.assert_close(actual, ritz.residual_norms[[0, -1]], rtol=1e-6, atol=1e-11)
    assert operator.num_matvecs == 15 + 14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_the_block_relation_holds(width, dtype, generator):
    operator = operator_with(KINDS["indefinite"].to(dtype), generator)
    space = grown(BlockKrylovSpace(operator, torch.randn(width, 40, dtype=dtype, generator=generator)), 5)
    Q, eps = space.basis, torch.finfo(dtype).eps
    assert space.dimension == 5 * width == operator.num_matvecs
    assert ((Q @ operator.matrix @ Q.T).double() - space.projected()).abs().max() < 100 * eps
    assert space.orthogonality_defect() < 10 * eps
    ritz = space.ritz()
    vectors = space.ritz_vectors(list(range(space.dimension)))
    actual = (vectors @ operator.matrix - ritz.values.to(dtype)[:, None] * vectors).norm(dim=1).double()
    torch.testing.assert_close(actual, ritz.residual_norms, rtol=1e-5, atol=200 * eps)


def test_a_block_is_deflated_when_part_of_it_is_exhausted(generator):
    """Of two start vectors, one lies in an invariant plane: the block gets narrower, and everything is found."""
    eigenvalues = torch.arange(1.0, 11.0, dtype=torch.float64)
    start = torch.zeros(2, 10, dtype=torch.float64)
    start[0, :2] = 1.0
    start[1, 2:] = torch.randn(8, dtype=torch.float64, generator=generator)
    space = BlockKrylovSpace(DiagonalOperator(eigenvalues), start)
    widths = []
    while space.status is Status.RUNNING:
        widths.append(space.width)
        space.extend()
    assert widths == [2, 2, 1, 1, 1, 1, 1, 1]
    torch.testing.assert_close(space.ritz().values, eigenvalues)


def test_dependent_start_vectors_are_dropped_and_bad_blocks_refused():
    operator = DiagonalOperator(KINDS["indefinite"])
    row = torch.linspace(1, 2, 40, dtype=torch.float64)
    assert BlockKrylovSpace(operator, torch.stack([row, 2 * row])).width == 1
    for start, message in ((torch.ones(2, 39).double(), "shape"), (torch.zeros(2, 40).double(), "is 0")):
        with pytest.raises(ValueError, match=message):
            BlockKrylovSpace(operator, start)
    with pytest.raises(ValueError, match="NaN"):
        BlockKrylovSpace(operator, torch.full((2, 40), torch.nan).double())
    broken = grown(BlockKrylovSpace(BrokenOperator(KINDS["indefinite"], at=3), torch.randn(2, 40).double()), 5)
    assert (broken.status, broken.dimension) == (Status.NONFINITE_PRODUCT, 2)


def test_a_basis_in_chunks_is_one_basis(generator):
    basis = Basis(30, torch.float64, torch.device("cpu"), 20)
    basis._chunk_rows = 3
    rows, _ = torch.linalg.qr(torch.randn(30, 8, dtype=torch.float64, generator=generator))
    for index in range(8):
        basis.store(index, rows[:, index])
    vector = torch.randn(30, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(basis.stack(), rows.T)
    torch.testing.assert_close(basis.coefficients(vector), rows.T @ vector)
    left = vector.clone()
    basis.orthogonalise(left)
    torch.testing.assert_close(left, vector - rows @ (rows.T @ vector))
    weights = torch.randn(8, 4, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(basis.combine(weights), (rows @ weights).T)
    basis.replace(weights)
    torch.testing.assert_close(basis.stack(), (rows @ weights).T)
    assert (basis.rows, len(basis._chunks)) == (4, 2)


@pytest.mark.parametrize("size", [10, 2**17 + 3])
def test_dot_products_of_float32_vectors_are_accumulated_in_float64(size, generator):
    a, b = torch.randn(2, size, generator=generator)
    assert float(dot_on_device(a, b)) == pytest.approx(float(a.double() @ b.double()), rel=1e-12, abs=1e-12)
