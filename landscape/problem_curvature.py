"""The second derivatives of a problem, as its methods."""

from __future__ import annotations

from torch import Tensor

from landscape.autodiff.twice import SecondDerivativeError
from landscape.losses.likelihood import Sampler
from landscape.objective import Objective
from landscape.operators.choose import HessianMethod, make_hessian
from landscape.operators.curvature import CurvatureOperator
from landscape.operators.fisher import Fisher, FisherKind
from landscape.operators.gauss_newton import GaussNewton
from landscape.verification.result import Verification
from landscape.verification.verify import verify as verify_objective

#: What else there is where torch cannot differentiate twice.
_OTHER_METHODS = (
    "Use method='finite-difference' (products from differences of gradients, with an estimated error), or method='auto' "
    "to have it chosen where it is needed."
)


class CurvatureMethods:
    """What a :class:`landscape.Problem` knows of its second derivatives; a part of that class, for readability."""

    objective: Objective
    _verifications: dict[str, Verification]

    def hessian(
        self,
        params: Tensor | None = None,
        *,
        method: HessianMethod = "autograd",
        max_memory: float | None = None,
        verify: bool = True,
    ) -> CurvatureOperator:
        """The Hessian of the mean loss, known by its products.

        Parameters
        ----------
        params : Tensor of shape (n,), optional
            Where. Default: where the model stands; the operator refuses to work once the model has moved on.
        method : {"autograd", "finite-difference", "auto", "forward-over-reverse", "reverse-over-forward"}
            How products are made. "autograd": double backward with kept graphs. "finite-difference": from gradients,
            with an estimated error that verdicts take into account. "auto": the first where torch can, else the second,
            with a warning. The last two: torch's forward mode, refused unless it agrees with double backward.
        max_memory : float, optional
            Bytes for kept graphs and intermediate results. Default: a quarter of the free memory. A smaller budget
            makes products slower, not different.
        verify : bool
            Run :meth:`verify` first, once for this problem and method, and raise its report if a check fails.

        Returns
        -------
        LinearOperator of shape (n, n)

        Raises
        ------
        VerificationError
            If the derivatives failed a check.
        SecondDerivativeError
            If torch cannot differentiate something twice; the message names the module.

        Notes
        -----
        Cost: a product is 2 GE nominal; building the graphs, once, 1 GE; verifying, once, as :meth:`verify` says.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> from landscape import Problem
        >>> inputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
        >>> problem = Problem(nn.Linear(1, 1, bias=False), nn.functional.mse_loss, (inputs, targets))
        >>> problem.hessian() @ torch.tensor([1.0])
        tensor([5.])
        """
        if verify:
            self._require_verified(method, params, _OTHER_METHODS)
        return make_hessian(self.objective, params, method, max_memory)

    def gauss_newton(
        self, params: Tensor | None = None, *, max_memory: float | None = None, verify: bool = True
    ) -> GaussNewton:
        """The generalised Gauss-Newton matrix: the Hessian without the curvature of the model.

        Parameters
        ----------
        params, max_memory, verify
            As for :meth:`hessian`.

        Returns
        -------
        LinearOperator of shape (n, n)
            Positive semidefinite wherever the loss is convex in the outputs (Schraudolph 2002).

        Raises
        ------
        ValueError
            If the problem was made from a closure, so that the outputs are not known.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> from landscape import Problem
        >>> inputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
        >>> problem = Problem(nn.Linear(1, 1, bias=False), nn.functional.mse_loss, (inputs, targets))
        >>> problem.gauss_newton() @ torch.tensor([1.0])  # a linear model: the Hessian itself
        tensor([5.])
        """
        operator = GaussNewton(self.objective, params, max_memory=max_memory)
        if verify:
            self._require_verified("autograd", params, "This matrix needs second derivatives: replace that part.")
        return operator

    def fisher(
        self,
        params: Tensor | None = None,
        *,
        kind: FisherKind = "monte-carlo",
        num_draws: int = 1,
        sampler: Sampler | None = None,
        seed: int = 0,
        max_memory: float | None = None,
        verify: bool = True,
    ) -> Fisher:
        """The Fisher information matrix, Monte-Carlo or empirical.

        Parameters
        ----------
        params, max_memory, verify
            As for :meth:`hessian`.
        kind : {"monte-carlo", "empirical"}
            Targets drawn from the model's own distribution, or the data's.
        num_draws : int
            Targets drawn for each sample.
        sampler : callable, optional
            ``sampler(output, target, generator) -> target``, for losses that are not torch's own. Called for one sample
            at a time, so that the draws do not depend on how the data are cut.
        seed : int
            Of the draws: the same seed gives the same matrix, in every product.

        Returns
        -------
        LinearOperator of shape (n, n)
            Positive semidefinite. Over seeds the Monte-Carlo matrix has the Gauss-Newton matrix as its mean
            (for ``nll_loss``, that of cross-entropy on the logits).

        Raises
        ------
        ValueError
            If the loss is not known to be a likelihood, or the problem was made from a closure.
        """
        operator = Fisher(
            self.objective, params, kind=kind, num_draws=num_draws, sampler=sampler, seed=seed, max_memory=max_memory
        )
        if verify:
            self._require_verified("autograd", params, "This matrix needs second derivatives: replace that part.")
        return operator

    def verify(self, method: HessianMethod = "autograd") -> Verification:
        """Check, once, that the derivatives of this problem can be trusted.

        Two full passes must give the same gradient. On at most 16 samples: swapped parameters must act as live ones,
        products must be symmetric, equal to differences of gradients, and agree with float64. What fails is traced to
        the smallest module that shows it.

        Parameters
        ----------
        method : str
            The way of making products that is checked; see :meth:`hessian`.

        Returns
        -------
        Verification
            The report; ``.ok`` says whether all checks passed. Kept if they did: a second call then costs nothing.

        Notes
        -----
        Cost: 2 gradients over all data, and about 12 GE of the 16 samples or fewer.

        Examples
        --------
        >>> import torch
        >>> from torch import nn
        >>> from landscape import Problem
        >>> inputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
        >>> Problem(nn.Linear(1, 1, bias=False), nn.functional.mse_loss, (inputs, targets)).verify().ok
        True
        """
        known = self._verifications.get(method)
        if known is None or not known.ok_at_the_model:  # a fault may have been mended since
            known = self._verifications[method] = verify_objective(self.objective, method)
        return known

    def _require_verified(self, method: HessianMethod, params: Tensor | None, others: str) -> None:
        """Raise the report of :meth:`verify` if products at ``params`` cannot be trusted."""
        verification = self.verify(method)
        missing = [check for check in verification.checks if check.name == "second derivatives exist"]
        if missing and method == "autograd":
            raise SecondDerivativeError(f"{missing[0].note}; at fault: {missing[0].fault}. {others}")
        verification.raise_if_failed(swapping=params is not None)
