# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The surface around a seed, from the readings of a disc that lie on it.

In inverse depth a plane is linear over the image and a stereo camera's noise even, so the surface
is a quadric in inverse depth over pixel offsets (x, y) from the seed:

    w(x, y) = t0 + t1 x + t2 y + t3 x^2 / 2 + t4 x y + t5 y^2 / 2

It is fitted by least squares with Gaussian priors: slopes of a surface at 60 degrees to the image,
curvatures of a radius of 25 mm, or of half its width for a thin thing. So few pixels make a flat
patch and many a curved one. It is grown: each round takes in a larger disc, and of it the readings
within three standard deviations of the surface so far. What is behind, in front or in between
(flying pixels) stays out. A round that leaves the seed's own reading behind has slid on to another
surface; the round before it holds.

Where all readings of the disc lie about the quadric as noise does, but farther off than the model
of the noise says, the covariance goes by them: the camera is another than the model's.

Where one quadric goes on over a disc twice as wide (nearly all readings are on it, by no more than
noise and hardly more than in the narrow disc off it), that one is taken, which tells a gentle
curvature from none. It goes by every second pixel of every second row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .lift_settings import LiftSettings
from .seeds import STEEPEST
from .windows import Bools, Floats, Integers, disc, gather

_LIKELY_SLOPE = float(np.tan(np.radians(60)))  # to the image plane: one sigma of the prior
_LIKELY_CURVE = 1 / 0.025  # 1/m, likewise: things that a gripper takes are seldom more curved
_THIN = 4.0  # pixels of half width below which a thing is expected to be round
_SIGMAS = 3.0  # of a reading's noise: what lies within belongs to the surface
_SIGMA_OF_HALF = 1.4826  # of a normal distribution: its sigma over the half of its residuals
_EVEN = 0.2  # as many readings on either side of the surface, as a share of all
_TAIL = 2.0, 2.8  # nine tenths of normal residuals lie within 2.44 times their half; two
# surfaces that share the disc have less of a tail, flying pixels more
_LEAST_EXCESS = 1.25  # below it may be chance: a disc has no more independent readings
_MOST_EXCESS = 4.0  # RealSense and others are up to three times off each other's models
_RADII = (2.3, 2.3, 4.5)  # pixels of the discs before the widest: 21, 21 and 69 readings
# The wide disc: how many times wider, how often it is fitted, and what it must show to be taken.
_WIDER = 2
_WIDE_ROUNDS = 2
_WIDE_SHARE = 0.98  # of its readings lie on the quadric,
_WIDE_SPREAD = 1.1  # no farther off it than this many sigmas (root mean square),
_WIDE_ROUGHER = 1.6  # nor than this many times as far as in the narrow disc
# Surfaces that end or bend nearby are no quadrics. Times the variance, so that the covariance held
# on rendered tables (benchmarks/lifting.py, other seeds than docs/accuracy.md reports).
_UNEVEN = 1.1


@dataclass(frozen=True)
class Surfaces:
    """N surfaces in inverse depth around their seeds.

    t: (N, 6) coefficients. covariance: (N, 6, 6) of them. pixels: (N,) readings they stand on.
    spread: (N,) root mean square of those readings about the surface, 1/m.
    """

    seeds: Integers
    t: Floats
    covariance: Floats
    pixels: NDArray[np.intp]
    spread: Floats

    def at(self, uv: Floats) -> tuple[Floats, Floats, Floats]:
        """At pixels (N, 2): inverse depth (N,), its gradient (N, 2), its variance (N,)."""
        x, y = (uv - self.seeds).T
        one, zero = np.ones_like(x), np.zeros_like(x)
        value = np.stack([one, x, y, x * x / 2, x * y, y * y / 2], 1)
        along_x = np.stack([zero, one, zero, x, y, zero], 1)
        along_y = np.stack([zero, zero, one, zero, x, y], 1)
        gradient = np.stack([(self.t * along_x).sum(1), (self.t * along_y).sum(1)], 1)
        variance = np.einsum('ni,nij,nj->n', value, self.covariance, value)
        return (self.t * value).sum(1), gradient, variance

    def slope_sigma(self) -> Floats:
        """Standard deviation (N,) of the slope at the seed, 1/m per pixel."""
        return np.sqrt(self.covariance[:, [1, 2], [1, 2]].max(1))


@dataclass(frozen=True)
class _Basis:
    """The quadric's terms at the pixels of a disc, and all their products.

    sharing: how many readings count for one, because neighbours err alike.
    """

    offsets: Integers
    distance: Floats
    terms: Floats
    products: Floats
    sharing: float


@lru_cache
def _basis(radius: float, step: int, correlation: float) -> _Basis:
    """Of every `step`th pixel within a radius; correlation: pixels, of the noise."""
    offsets = disc(radius / step) * step
    x, y = offsets.T.astype(np.float64)
    terms = np.stack([np.ones_like(x), x, y, x * x / 2, x * y, y * y / 2], 1)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(x), 36)
    sharing = _sharing(offsets, terms, correlation) if step > 1 else 4 * np.pi * correlation**2
    return _Basis(offsets, np.hypot(x, y), terms, products, max(1.0, sharing))


def _sharing(offsets: Integers, terms: Floats, correlation: float) -> float:
    """By how much correlation makes the fit's value at the middle of a whole disc less sure.

    The correlation exp(-d^2 / (4 correlation^2)) is a product of one in x and one in y, so that it
    is put on the disc's square row by row and column by column.
    """
    gain = np.linalg.pinv(terms)[0]
    low = offsets.min()
    cells = offsets - low
    square = np.zeros((cells.max() + 1,) * 2)
    square[cells[:, 1], cells[:, 0]] = gain
    apart = np.arange(len(square))
    along = np.exp(-((apart[:, None] - apart) ** 2) / (4 * max(correlation, 1e-3) ** 2))
    return float((along @ square @ along * square).sum() / (gain @ gain))


def fit_surfaces(
    depth: NDArray[np.float32], seeds: Integers, focal: float, settings: LiftSettings
) -> Surfaces:
    """Surfaces around seeds (N, 2), each of which must have a reading within the range."""
    basis = _basis(settings.radius, 1, settings.noise.correlation)
    inverse, valid = settings.inverse(gather(depth, seeds, basis.offsets))
    level = inverse[:, 0]
    sigma = settings.inverse_sigma(level, focal)
    prior = _prior(level, sigma, focal) * basis.sharing
    t = np.zeros((len(seeds), 6))
    t[:, 0] = level
    fitted = None
    for number, radius in enumerate(_radii(settings.radius)):
        m = int(np.searchsorted(basis.distance, radius, 'right'))
        tolerance = _SIGMAS * sigma[:, None]
        if number == 0:
            tolerance = tolerance + level[:, None] * (STEEPEST / focal) * basis.distance[:m]
        w = inverse[:, :m]
        on = valid[:, :m] & (np.abs(w - t @ basis.terms[:m].T) < tolerance)
        fit = _least_squares(on, w, basis, prior)
        prior[:, 3:] = basis.sharing * _curve_prior(level, sigma, focal, fit.normal)[:, None]
        t = fit.t
        kept = np.abs(t[:, 0] - level) < _SIGMAS * sigma
        fitted = fit if fitted is None else fitted.replaced_by(fit, kept)
        t = fitted.t
    assert fitted is not None
    wide, goes_on = _wide(depth, seeds, fitted, sigma, prior / basis.sharing, settings)
    fitted = fitted.replaced_by(wide.weighing(basis.sharing), goes_on)
    scale = sigma**2 * basis.sharing * np.where(goes_on, 1.0, _UNEVEN)
    scale *= _excess_noise(np.where(valid, inverse - fitted.t @ basis.terms.T, np.nan), sigma) ** 2
    covariance = scale[:, None, None] * np.linalg.inv(fitted.normal)
    # No averaging makes one reading worse than it is.
    excess = np.sqrt(np.minimum(1, sigma**2 / np.maximum(covariance[:, 0, 0], 1e-300)))
    covariance[:, 0, :] *= excess[:, None]
    covariance[:, :, 0] *= excess[:, None]
    return Surfaces(seeds, fitted.t, covariance, fitted.pixels, fitted.spread)


def _radii(widest: float) -> tuple[float, ...]:
    """Of the discs, each at most twice as wide as the one before: a leap may land elsewhere."""
    radii = [*_RADII]
    while radii[-1] * 2 < widest:
        radii.append(radii[-1] * 2)
    return (*radii, widest)


def _excess_noise(off: Floats, sigma: Floats) -> Floats:
    """(N,) how many times larger than sigma the noise is; 1 where that is not plain.

    off: (N, K) of all readings of a disc from its surface, NaN without one. Other surfaces in it
    are told from noise by how the readings lie: noise has as many on either side, and its nine
    tenths not far outside its half.
    """
    seen = np.isfinite(off)
    size = np.where(seen, np.abs(off), np.inf)
    count = seen.sum(1)
    ordered = np.sort(size, axis=1)
    rows = np.arange(len(off))
    middle = np.maximum(ordered[rows, count // 2], 1e-12)
    most = ordered[rows, np.maximum(9 * count // 10 - 1, 0)]
    even = np.abs(np.where(seen, np.sign(off), 0).sum(1)) < _EVEN * count
    like_noise = even & (most > _TAIL[0] * middle) & (most < _TAIL[1] * middle)
    excess = np.minimum(_SIGMA_OF_HALF * middle / sigma, _MOST_EXCESS)
    plain = like_noise & (excess > _LEAST_EXCESS) & (count > 0.9 * off.shape[1])
    return np.where(plain, excess, 1.0)


def _wide(
    depth: NDArray[np.float32],
    seeds: Integers,
    narrow: _Fit,
    sigma: Floats,
    prior: Floats,
    settings: LiftSettings,
) -> tuple[_Fit, Bools]:
    """The N quadrics over discs twice as wide, begun from the narrow ones, and which hold."""
    basis = _basis(_WIDER * settings.radius, _WIDER, settings.noise.correlation)
    w, valid = settings.inverse(gather(depth, seeds, basis.offsets))
    # How curved it is was not known well, so the first look at the rim is with half closed eyes.
    slack = 1 + (basis.distance / basis.distance[-1]) ** 2
    level, t = w[:, 0], narrow.t
    for _ in range(_WIDE_ROUNDS):
        on = valid & (np.abs(w - t @ basis.terms.T) < _SIGMAS * sigma[:, None] * slack)
        fit = _least_squares(on, w, basis, prior * basis.sharing)
        t, slack = fit.t, np.ones_like(slack)
    most = np.minimum(_WIDE_SPREAD * sigma, _WIDE_ROUGHER * narrow.spread)
    goes_on = (
        (fit.pixels >= _WIDE_SHARE * len(basis.offsets))
        & (fit.spread < most)
        & (np.abs(t[:, 0] - level) < _SIGMAS * sigma)
    )
    return fit, goes_on


@dataclass(frozen=True)
class _Fit:
    t: Floats
    normal: Floats
    pixels: NDArray[np.intp]
    spread: Floats
    sharing: float

    def weighing(self, sharing: float) -> _Fit:
        """The same, its normal matrix in units of so many readings that count for one."""
        return replace(self, normal=self.normal * (sharing / self.sharing), sharing=sharing)

    def replaced_by(self, other: _Fit, where: Bools) -> _Fit:
        if where.all():
            return other
        return _Fit(
            np.where(where[:, None], other.t, self.t),
            np.where(where[:, None, None], other.normal, self.normal),
            np.where(where, other.pixels, self.pixels),
            np.where(where, other.spread, self.spread),
            self.sharing,
        )


def _prior(level: Floats, sigma: Floats, focal: float) -> Floats:
    """(N, 6) precision of each coefficient in units of a reading's."""
    slope = (sigma * focal / (level * _LIKELY_SLOPE)) ** 2
    curve = _curve_prior(level, sigma, focal, None)
    return np.stack([1e-6 * sigma**2, slope, slope, curve, curve, curve], 1)


def _curve_prior(level: Floats, sigma: Floats, focal: float, normal: Floats | None) -> Floats:
    """(N,) precision of the curvatures; with a fit's normal matrix, from how narrow it is.

    A thing much narrower than the disc is likely round, with half its width for a radius.
    """
    curve = np.full_like(level, _LIKELY_CURVE)
    if normal is not None:
        half = _half_width(normal)
        thin = half < _THIN
        curve[thin] = np.maximum(_LIKELY_CURVE, level[thin] * focal / half[thin])
    return np.asarray((sigma * focal**2 / curve) ** 2)


def _half_width(normal: Floats) -> Floats:
    """Half the width (N,) in pixels of the narrow way across the readings that were fitted."""
    mean = normal[:, 0, 1:3] / normal[:, :1, 0]
    scatter = normal[:, 1:3, 1:3] / normal[:, :1, :1] - mean[:, :, None] * mean[:, None, :]
    least = np.linalg.eigvalsh(scatter)[:, 0]
    return np.asarray(np.sqrt(3 * np.maximum(least, 0.1)))


def _least_squares(on: Bools, w: Floats, basis: _Basis, prior: Floats) -> _Fit:
    m = on.shape[1]
    terms = basis.terms[:m]
    weights = on.astype(np.float64)
    normal = (weights @ basis.products[:m]).reshape(-1, 6, 6)
    diagonal = np.arange(6)
    normal[:, diagonal, diagonal] += prior
    right = (weights * w) @ terms
    t = np.asarray(np.linalg.solve(normal, right[:, :, None])[:, :, 0], np.float64)
    pixels = on.sum(1)
    residual = weights * (w - t @ terms.T)
    spread = np.sqrt(np.einsum('nm,nm->n', residual, residual) / np.maximum(pixels, 1))
    return _Fit(t, normal, pixels, spread, basis.sharing)
