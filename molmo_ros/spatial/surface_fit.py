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

Far away a disc of so many pixels covers much of a surface, and noise may be as high as a low thing
on a table: the disc would swallow it. So it is bounded in metres too, and there the wide one counts
only if it has the pixel where the bounded one has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lift_settings import LiftSettings
from .seeds import STEEPEST
from .windows import Bools, Floats, Integers, disc, gather

_LIKELY_SLOPE = float(np.tan(np.radians(60)))  # to the image plane: one sigma of the prior
_LIKELY_CURVE = 1 / 0.025  # 1/m, likewise: things that a gripper takes are seldom more curved
_LEAST_PRIOR = 1e-15  # of what is known of a coefficient without it: rounding leaves more
_THIN = 4.0  # pixels of half width below which a thing is expected to be round
_SIGMAS = 3.0  # of a reading's noise: what lies within belongs to the surface
_SIGMA_OF_HALF = 1.4826  # of a normal distribution: its sigma over the half of its residuals
_EVEN = 0.2  # as many readings on either side of the surface, as a share of all
_TAIL = 2.0, 2.8  # nine tenths of normal residuals lie within 2.44 times their half; two
# surfaces that share the disc have less of a tail, flying pixels more
_LEAST_EXCESS = 3.6  # times what residuals vary from disc to disc; below it may be chance
_MOST_EXCESS = 4.0  # RealSense and others are up to three times off each other's models
_RADII = (2.3, 2.3, 4.5)  # pixels of the discs before the widest: 21, 21 and 69 readings
_LEAST_REACH = 4.5  # pixels of the widest disc, however small that is on the surface
_WHITE = 0.01  # share of the noise that each reading has for itself: steps of the disparity
# The wide disc: how many times wider, how often it is fitted, and what it must show to be taken.
_WIDER = 2
_WIDE_ROUNDS = 2
_WIDE_SHARE = 0.98  # of its readings lie on the quadric,
_WIDE_SPREAD = 1.4  # no farther off it than noise is, by that many of what this varies by,
_WIDE_ROUGHER = 1.4  # nor so much farther than in the narrow disc, beside what either fit leaves,
_AGREES = 0.6  # sigmas that it may be off the narrow one, where the surface bounds that
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
    """The quadric's terms at the pixels of a disc, and all their products."""

    offsets: Integers
    distance: Floats
    terms: Floats
    products: Floats


@lru_cache
def _basis(radius: float, step: int = 1) -> _Basis:
    """Of every `step`th pixel within a radius."""
    offsets = disc(radius / step) * step
    x, y = offsets.T.astype(np.float64)
    terms = np.stack([np.ones_like(x), x, y, x * x / 2, x * y, y * y / 2], 1)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(x), 36)
    return _Basis(offsets, np.hypot(x, y), terms, products)


class _DiscNoise(NamedTuple):
    """What correlated noise does to the fits over N discs.

    sharing: (N, 6) how many readings count for one in each coefficient, as neighbours err alike:
    smooth noise moves a small disc as a whole, so that its level is no surer than a reading, but
    hardly tilts it. spread: (N,) what the fit leaves of the noise's standard deviation. varies:
    (N,) the standard deviation of that from disc to disc, as a share.
    """

    sharing: Floats
    spread: Floats
    varies: Floats

    def repeated(self, count: int) -> _DiscNoise:
        """Of one disc, for as many."""
        return _DiscNoise(*(np.repeat(part, count, axis=0) for part in self))

    def replaced_by(self, other: _DiscNoise, where: Bools) -> _DiscNoise:
        return _DiscNoise(
            np.where(where[:, None], other.sharing, self.sharing),
            np.where(where, other.spread, self.spread),
            np.where(where, other.varies, self.varies),
        )


@lru_cache(maxsize=512)
def _disc_noise(radius: float, step: int, correlation: float) -> _DiscNoise:
    """Of one whole disc; correlation: pixels, of the noise."""
    basis = _basis(radius, step)
    count = len(basis.offsets)
    gains = np.asarray(np.linalg.pinv(basis.terms), np.float64)
    sigmas = gains @ _correlated(basis.offsets, gains, correlation).T
    sharing = (1 - _WHITE) * np.diag(sigmas) / (gains**2).sum(1) + _WHITE
    left = 1 - float(np.trace(basis.terms.T @ basis.terms @ sigmas)) / count
    alike = max(1.0, 2 * np.pi * (correlation / step) ** 2)  # readings, in a sum of squares
    return _DiscNoise(
        sharing[None],
        np.sqrt([max(left, _WHITE)]),
        np.sqrt([alike / (2 * count)]),
    )


def _noise_within(reach: Floats, radius: float, correlation: float) -> _DiscNoise:
    """For N discs, no wider than either."""
    bound = np.minimum(reach, radius)
    if len(bound) == 1:
        return _disc_noise(float(bound[0]), 1, correlation)
    radii, which = np.unique(bound, return_inverse=True)
    each = [_disc_noise(float(r), 1, correlation) for r in radii]
    return _DiscNoise(*(np.concatenate(parts)[which] for parts in zip(*each, strict=True)))


def _correlated(offsets: Integers, weights: Floats, correlation: float) -> Floats:
    """What the noise's correlation between the pixels of a disc makes of K weights (K, M) each.

    It is exp(-d^2 / (4 correlation^2)), a product of one in x and one in y, so that the disc's
    square is gone over row by row and column by column.
    """
    columns, rows = (offsets - offsets.min()).T
    side = int(columns.max()) + 1
    apart = np.arange(side)
    along = np.exp(-((apart[:, None] - apart) ** 2) / (4 * max(correlation, 1e-3) ** 2))
    square = np.zeros((len(weights), side, side))
    square[:, rows, columns] = weights
    return np.asarray((along @ square @ along)[:, rows, columns])


def fit_surfaces(
    depth: NDArray[np.float32], seeds: Integers, focal: float, settings: LiftSettings
) -> Surfaces:
    """Surfaces around seeds (N, 2), each of which must have a reading within the range."""
    correlation = settings.noise.correlation
    widest = _basis(settings.radius)
    inverse, valid = settings.inverse(gather(depth, seeds, widest.offsets))
    level = inverse[:, 0]
    sigma = settings.inverse_sigma(level, focal)
    prior = _prior(level, sigma, focal)
    reach = _reach(1 / level, focal, settings)
    t = np.zeros((len(seeds), 6))
    t[:, 0] = level
    fitted = None
    for number, radius in enumerate(_radii(settings.radius)):
        basis = _basis(radius)
        m = len(basis.offsets)
        tolerance = _SIGMAS * sigma[:, None]
        if number == 0:
            tolerance = tolerance + level[:, None] * (STEEPEST / focal) * basis.distance
        w = inverse[:, :m]
        on = valid[:, :m] & (np.abs(w - t @ basis.terms.T) < tolerance)
        on &= basis.distance <= reach[:, None]
        noise = _noise_within(reach, radius, correlation)
        fit = _least_squares(on, w, basis, prior, noise)
        prior[:, 3:] = _curve_prior(level, sigma, focal, fit.normal)[:, None]
        t = fit.t
        kept = np.abs(t[:, 0] - level) < _SIGMAS * sigma
        fitted = fit if fitted is None else fitted.replaced_by(fit, kept)
        t = fitted.t
    assert fitted is not None
    wide, goes_on = _wide(depth, seeds, fitted, sigma, prior, settings)
    agrees = np.abs(wide.t[:, 0] - fitted.t[:, 0]) < _AGREES * sigma
    goes_on &= agrees | (reach >= settings.radius)
    fitted = fitted.replaced_by(wide, goes_on)
    scale = sigma * np.where(goes_on, 1.0, np.sqrt(_UNEVEN))
    within = widest.distance <= reach[:, None]
    off = np.where(valid & within, inverse - fitted.t @ widest.terms.T, np.nan)
    varies = _noise_within(reach, settings.radius, correlation).varies
    least = 1 + _LEAST_EXCESS * varies
    excess = _excess_noise(off, sigma * fitted.noise.spread, within.sum(1), least)
    each = (scale * excess)[:, None] * np.sqrt(fitted.noise.sharing)
    covariance = each[:, :, None] * each[:, None, :] * np.linalg.inv(fitted.normal)
    # No averaging makes one reading worse than it is.
    most = (sigma * excess) ** 2
    less = np.sqrt(np.minimum(1, most / np.maximum(covariance[:, 0, 0], 1e-300)))
    covariance[:, 0, :] *= less[:, None]
    covariance[:, :, 0] *= less[:, None]
    return Surfaces(seeds, fitted.t, covariance, fitted.pixels, fitted.spread)


def _reach(z: Floats, focal: float, settings: LiftSettings) -> Floats:
    """Radius (N,) in pixels of the widest disc at each depth; whole pixels, so that few differ."""
    bound = np.maximum(np.rint(settings.radius_metres * focal / z), _LEAST_REACH)
    return np.minimum(settings.radius, bound)


def _radii(widest: float) -> tuple[float, ...]:
    """Of the discs, each at most twice as wide as the one before: a leap may land elsewhere."""
    radii = [radius for radius in _RADII if radius < widest]
    while radii[-1] * 2 < widest:
        radii.append(radii[-1] * 2)
    return (*radii, widest)


def _excess_noise(off: Floats, sigma: Floats, whole: Integers, least: Floats) -> Floats:
    """(N,) how many times larger than sigma the noise is; 1 where that is not plain.

    off: (N, K) of all readings of a disc of `whole` pixels from its surface, NaN without one. Other
    surfaces in it are told from noise by how the readings lie: noise has as many on either side,
    and its nine tenths not far outside its half. least: (N,) below which it may be chance.
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
    plain = like_noise & (excess > least) & (count > 0.9 * whole)
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
    radius = _WIDER * settings.radius
    basis = _basis(radius, _WIDER)
    noise = _disc_noise(radius, _WIDER, settings.noise.correlation)
    w, valid = settings.inverse(gather(depth, seeds, basis.offsets))
    # How curved it is was not known well, so the first look at the rim is with half closed eyes.
    slack = 1 + (basis.distance / basis.distance[-1]) ** 2
    level, t = w[:, 0], narrow.t
    for _ in range(_WIDE_ROUNDS):
        on = valid & (np.abs(w - t @ basis.terms.T) < _SIGMAS * sigma[:, None] * slack)
        fit = _least_squares(on, w, basis, prior, noise.repeated(len(seeds)))
        t, slack = fit.t, np.ones_like(slack)
    most = (1 + _WIDE_SPREAD * noise.varies) * sigma
    rougher = _WIDE_ROUGHER * noise.spread / narrow.noise.spread
    goes_on = (
        (fit.pixels >= _WIDE_SHARE * len(basis.offsets))
        & (fit.spread < np.minimum(most, rougher * narrow.spread))
        & (np.abs(t[:, 0] - level) < _SIGMAS * sigma)
    )
    return fit, goes_on


@dataclass(frozen=True)
class _Fit:
    t: Floats
    normal: Floats
    pixels: NDArray[np.intp]
    spread: Floats
    noise: _DiscNoise

    def replaced_by(self, other: _Fit, where: Bools) -> _Fit:
        if where.all():
            return other
        return _Fit(
            np.where(where[:, None], other.t, self.t),
            np.where(where[:, None, None], other.normal, self.normal),
            np.where(where, other.pixels, self.pixels),
            np.where(where, other.spread, self.spread),
            self.noise.replaced_by(other.noise, where),
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


def _least_squares(on: Bools, w: Floats, basis: _Basis, prior: Floats, noise: _DiscNoise) -> _Fit:
    terms = basis.terms
    weights = on.astype(np.float64)
    normal = (weights @ basis.products).reshape(-1, 6, 6)
    diagonal = np.arange(6)
    known = normal[:, diagonal, diagonal]
    # Without noise the prior is nearly nothing, and a few readings alone tell no slope.
    normal[:, diagonal, diagonal] += np.maximum(prior * noise.sharing, _LEAST_PRIOR * (1 + known))
    right = (weights * w) @ terms
    t = np.asarray(np.linalg.solve(normal, right[:, :, None])[:, :, 0], np.float64)
    pixels = on.sum(1)
    residual = weights * (w - t @ terms.T)
    spread = np.sqrt(np.einsum('nm,nm->n', residual, residual) / np.maximum(pixels, 1))
    return _Fit(t, normal, pixels, spread, noise)
