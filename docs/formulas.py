"""LaTeX of the formulas in docstrings, for the documentation site.

{formula as the docstring prints it, without its indent: LaTeX, and text after
an empty line}. The site is not built if a docstring has another formula.
"""

FORMULAS = {
    # ConAdvModel
    """\
g_t <- 1/2 [mean grad L(theta_t; x, y)     through the main batch norm
          + mean grad L(theta_t; x_hat, y)] through the auxiliary one
x_hat(theta_t) <- attack on the next batch with the stale weights
theta_t+1 <- optimizer(theta_t, g_t)""": r"""
\begin{aligned}
g_t &\leftarrow \tfrac{1}{2} \nabla L(\theta_t; x, y) \\
  &\quad + \tfrac{1}{2} \nabla L(\theta_t; \hat{x}, y) \\
\hat{x}(\theta_t) &\leftarrow
  \operatorname{attack}(x_{\text{next}}, y_{\text{next}}; \theta_t) \\
\theta_{t+1} &\leftarrow \operatorname{optimizer}(\theta_t, g_t)
\end{aligned}

The gradient of the clean images x goes through the main batch norm, that of
the adversarial images through the auxiliary one.""",
    # PGD
    """\
x_0 <- x + random start
x_k+1 <- project(x_k + step_size * direction(grad_x loss(x_k, y)))""": r"""
\begin{aligned}
x_0 &\leftarrow x + \text{random start} \\
x_{k+1} &\leftarrow \operatorname{project}(x_k + \text{step size} \cdot d_k) \\
d_k &= \operatorname{direction}(\nabla_x \operatorname{loss}(x_k, y))
\end{aligned}""",
    # FGSM
    """\
x_adv <- clip(x + epsilon * sign(grad_x loss(x, y)))""": r"""
x_{\text{adv}} \leftarrow \operatorname{clip}\left(x + \epsilon
  \operatorname{sign}(\nabla_x \operatorname{loss}(x, y))\right)""",
    # LARS
    """\
trust = trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)
        (1 where |w| or |g| is 0)
g <- g + weight_decay * w
m <- momentum * m + learning_rate * trust * g
w <- w - m              (nesterov: w - (momentum * m + learning_rate *
                         trust * g))""": r"""
\begin{aligned}
r &= \frac{c \lVert w \rVert}
  {\lVert g \rVert + \lambda \lVert w \rVert + \epsilon} \\
g &\leftarrow g + \lambda w \\
m &\leftarrow \mu m + \eta r g \\
w &\leftarrow w - m
\end{aligned}

Here r is the trust ratio, 1 where the norm of w or g is 0; c is
``trust_coefficient``, :math:`\lambda` is ``weight_decay``, :math:`\mu` is
``momentum`` and :math:`\eta` is ``learning_rate``. With ``nesterov`` the last
line is :math:`w \leftarrow w - (\mu m + \eta r g)`.""",
    # top_eigenvalues
    """\
eigenvalues of D H D,   D = diag(|filter of the weight|)""": r"""
\text{eigenvalues of } D H D, \quad
  D = \operatorname{diag}(\lVert \text{filter of the weight} \rVert)""",
    # lemma_1_bound
    """\
2 sigma sqrt(L delta / T)
    + L_thetax^2 / 2 (tau M L_xtheta / (L mu) + sqrt(lambda / mu))^2""": r"""
2 \sigma \sqrt{\frac{L \delta}{T}} + \frac{L_{\theta x}^2}{2} \left(
  \frac{\tau M L_{x \theta}}{L \mu} + \sqrt{\frac{\lambda}{\mu}}\right)^2""",
    # theorem_1_of_run
    """\
2 delta / (eta T) + 2 L eta sigma^2
    + L_thetax^2 / 4 (1 + L eta)
      (eta tau M L_xtheta / mu + sqrt(lambda / mu))^2""": r"""
\frac{2 \delta}{\eta T} + 2 L \eta \sigma^2
  + \frac{L_{\theta x}^2}{4} (1 + L \eta) \left(
  \frac{\eta \tau M L_{x \theta}}{\mu} + \sqrt{\frac{\lambda}{\mu}}\right)^2""",
    # lemma_1_bound
    """\
|x*(theta_t) - x*(theta_t-tau)|
    <= L_xtheta / mu |theta_t - theta_t-tau|""": r"""
\lVert x^*(\theta_t) - x^*(\theta_{t-\tau}) \rVert
  \le \frac{L_{x \theta}}{\mu} \lVert \theta_t - \theta_{t-\tau} \rVert""",
    # WarmupPolynomialDecay
    """\
base * (t + 1) / w                                    for t < w
end + (base - end) * (1 - (t + 1 - w) / (n - w)) ** power    after""": r"""
\begin{aligned}
&\text{base} \cdot \frac{t + 1}{w} && \text{for } t < w \\
&\text{end} + (\text{base} - \text{end})
  \left(1 - \frac{t + 1 - w}{n - w}\right)^{\text{power}} && \text{after}
\end{aligned}""",
}
# The same formulas as tuples of lines without indent.
_LINES = {
    tuple(line.strip() for line in text.split("\n")): latex.strip().split("\n")
    for text, latex in FORMULAS.items()
}


def extract(lines):
    """Takes the formulas out of a docstring.

    Args:
      lines: list of str.

    Returns:
      (lines with a marker in place of each formula, {marker: lines of the
      directive math}).
    """
    found, directives = [], {}
    while lines:
        stripped = [line.strip() for line in lines]
        formula = next(
            (each for each in _LINES if tuple(stripped[: len(each)]) == each),
            None,
        )
        if formula is None:
            found.append(lines[0])
            lines = lines[1:]
            continue
        indent = " " * (len(lines[0]) - len(stripped[0]) - 4)
        marker = f"{indent}FORMULA{len(directives)}"
        latex, _, text = "\n".join(_LINES[formula]).partition("\n\n")
        directives[marker] = [
            f"{indent}.. math::",
            "",
            *(f"{indent}   {line}" for line in latex.split("\n")),
            "",
            *(f"{indent}{line}" for line in text.split("\n")),
        ]
        found.append(marker)
        lines = lines[len(formula) :]
    return found, directives
