"""95 % intervals of shares and of what lies between two of them."""

import math

_Z_95 = 1.959963984540054  # the standard normal's 97.5 % quantile


def wilson(successes: int, trials: int) -> tuple[float, float] | tuple[None, None]:
    """The score interval of a proportion; nothing for no trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22 (1927), doi:10.1080/01621459.1927.10502953.
    """
    if trials == 0:
        return None, None
    share, z2 = successes / trials, _Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (
        _Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def newcombe(
    successes: tuple[int, int], trials: tuple[int, int]
) -> tuple[float, float] | tuple[None, None]:
    """The interval of the difference between two independent proportions, the second taken from the
    first, made of their score intervals; nothing where one has no trials.

    R. G. Newcombe, Interval estimation for the difference between independent proportions:
    comparison of eleven methods, Statistics in Medicine 17 (1998), 873-890, method 10.
    """
    low1, high1 = wilson(successes[0], trials[0])
    low2, high2 = wilson(successes[1], trials[1])
    if low1 is None or high1 is None or low2 is None or high2 is None:
        return None, None
    share1, share2 = successes[0] / trials[0], successes[1] / trials[1]
    difference = share1 - share2
    return (
        difference - math.hypot(share1 - low1, high2 - share2),
        difference + math.hypot(high1 - share1, share2 - low2),
    )


def ratio_low(now: int, then: int) -> float | None:
    """The lower end of the interval of the ratio of two counts of rare, independent events, by the
    normal approximation of its logarithm with half an event added to each; nothing where both are
    none.

    J. B. S. Haldane, The estimation and significance of the logarithm of a ratio of frequencies,
    Annals of Human Genetics 20 (1956), doi:10.1111/j.1469-1809.1955.tb01285.x.
    """
    if now == then == 0:
        return None
    ratio = (now + 0.5) / (then + 0.5)
    return ratio * math.exp(-_Z_95 * math.sqrt(1 / (now + 0.5) + 1 / (then + 0.5)))
