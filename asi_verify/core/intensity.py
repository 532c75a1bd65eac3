"""Intensity regions: brightness, contrast and bias fields of whole images."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.core.box import Box, float64_above, read_only, widened
from asi_verify.core.family import LEVELS, RegionFamily
from asi_verify.core.images import refuse_unusable_images
from asi_verify.core.radius import RadiusLike, ball_radius
from asi_verify.core.reach import IntensityReach
from asi_verify.errors import CertificateError, RadiusError, UsageError

__all__ = ["Intensity"]

Points = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
_NAMES = ("brightness", "contrast", "bias", "degree")
_NAME = re.compile(rf"\b({'|'.join(_NAMES)})\b", re.IGNORECASE)
_HIGHEST_DEGREE = 4
_ROUNDED = Fraction(1, 2**40)
"""More than float64 sums of some tens of numbers of magnitude 1 or a few are off by."""
_ROUNDS = 8
"""Of a search for parameters; what is found is verified, however good it is."""
_TURNS = 5
_NO_HELP = 1e-12


class _Parameter(NamedTuple):
    """One number that changes an image: by ``t P(position)``, times the image itself if scaled.

    Attributes:
        radius: ``t`` is between it and its negative.
        degrees: ``P`` is the product of the Legendre polynomials of these degrees, one for each
            axis, of coordinates that go from -1 at the first pixel to 1 at the last.
        scaled: as above.
    """

    radius: Fraction
    degrees: tuple[int, ...]
    scaled: bool


@dataclass(frozen=True)
class Intensity(RegionFamily):
    """All images ``clip(x + b + c x + f x, 0, 1)`` of an image ``x``, with the same clip for all.

    ``b`` is one number for the whole image, ``|b| <= brightness``; ``c`` is one, ``|c| <=
    contrast``; and ``f`` is a smooth field, a sum of products of Legendre polynomials of the
    position, one polynomial for each axis, whose degrees add up to at most ``degree``, each product
    with a coefficient of at most ``bias`` in magnitude, that of degree 0 included. All channels
    change alike.

    A member is every real input in [0, 1] that is, in every number, within ``slack`` of such an
    image with the exact pixel values, ``k / 255`` for 8-bit images. The slack is there for those
    that programs compute. In float32 or wider, from any usual encoding of a pixel (two roundings),
    parameters rounded once and a field with four roundings, ``x + b``, ``c x``, ``c x + b`` and
    sums of the terms above in any order, factored or not, fused or not, clipped at the end, each
    term passes at most ``K + 12`` roundings for ``K`` parameters, of magnitudes that add up to at
    most ``1 + (the sum of all radii)``; the slack allows ``2 K + 16``. Not covered: half precision,
    and images that are rounded to grey levels, or clipped, between or after such steps.

    Attributes:
        brightness: from 0 to 1, in units of the pixel range.
        contrast: from 0 to 1: the factor lies between 1 - contrast and 1 + contrast.
        bias: from 0 to 1.
        degree: from 1 to 4 with a bias, else 0.

    Raises:
        RadiusError: other radii, or all 0.
        UsageError: another degree.
    """

    brightness: Fraction = Fraction(0)
    contrast: Fraction = Fraction(0)
    bias: Fraction = Fraction(0)
    degree: int = 0

    def __post_init__(self) -> None:
        radii = {name: getattr(self, name) for name in _NAMES[:3]}
        for name, radius in radii.items():
            if not isinstance(radius, Fraction):
                raise TypeError(f"{name} is a Fraction, not {radius!r}; use Intensity.of(...)")
            if not 0 <= radius <= 1:
                raise RadiusError(f"{name}: {radius}; between 0 and 1, the whole pixel range")
        if not any(radii.values()):
            raise RadiusError("brightness, contrast and bias are all 0; one has to be above")
        lowest, highest = (1, _HIGHEST_DEGREE) if self.bias else (0, 0)
        if type(self.degree) is not int or not lowest <= self.degree <= highest:
            raise UsageError(
                f"degree: {self.degree!r}; with a bias a whole number from 1 to {_HIGHEST_DEGREE} "
                "is expected, without one 0"
            )

    @classmethod
    def of(
        cls,
        brightness: RadiusLike = 0,
        contrast: RadiusLike = 0,
        bias: RadiusLike = 0,
        degree: int = 0,
    ) -> Intensity:
        """The family of sizes as ``Radius.of`` reads radii, which may be up to 1 here."""
        return cls(ball_radius(brightness), ball_radius(contrast), ball_radius(bias), degree)

    @classmethod
    def in_text(cls, text: object) -> Intensity | None:
        """The family of a text such as ``"brightness 10/255 contrast 0.1"``; None if it is none.

        ``"bias 0.1 degree 2"`` is read likewise; every name stands once at most.

        Raises:
            UsageError: a name without a number, twice, or with one that is not of its kind.
        """
        if not isinstance(text, str) or not _NAME.match(text.strip()):
            return None
        _, *found = _NAME.split(text.strip())
        names = [name.lower() for name in found[::2]]
        if len(set(names)) < len(names):
            raise UsageError(f"radius: {text!r:.200} says one thing twice")
        given: dict[str, Any] = dict(
            zip(names, (part.strip() for part in found[1::2]), strict=True)
        )
        if "" in given.values():
            raise UsageError(f"radius: {text!r:.200}; a number belongs behind every name")
        degree = given.get("degree", "0")
        if not re.fullmatch("[0-9]{1,3}", degree):
            raise UsageError(f"radius: {text!r:.200}; the degree is a whole number")
        return cls.of(**{**given, "degree": int(degree)})

    @property
    def size(self) -> str:
        return " ".join(f"{name} {value}" for name, value in self._said)

    @property
    def extent(self) -> str:
        return f"under {' and '.join(f'{name} {value}' for name, value in self._said)}"

    @property
    def membership(self) -> str:
        steps = []
        if self.contrast:
            low, high = 1 - self.contrast, 1 + self.contrast
            steps.append(f"multiplied by one factor between {low} and {high}")
        if self.bias:
            steps.append(
                f"multiplied by a smooth field of degree {self.degree}, which is 1 plus terms of "
                f"at most {self.bias} each"
            )
        if self.brightness:
            amount = dict(self._said)["brightness"]
            steps.append(f"made brighter or darker by one amount of at most {amount}")
        return (
            f"the whole of the image is {', '.join(steps)}, black and white being 1 apart and the "
            "ends of what a pixel can be"
        )

    @property
    def _said(self) -> list[tuple[str, str]]:
        levels = self.brightness * 255
        brightness = f"{levels}/255" if levels.denominator == 1 else str(self.brightness)
        bias = f"{self.bias} degree {self.degree}"
        said = zip(_NAMES, (brightness, str(self.contrast), bias), strict=False)
        return [(name, value) for name, value in said if getattr(self, name)]

    def parameters(self, axes: int) -> tuple[_Parameter, ...]:
        """What changes images with so many spatial axes: brightness, contrast, then the field's."""
        constant = (0,) * axes
        found = [_Parameter(self.brightness, constant, scaled=False)] if self.brightness else []
        if self.contrast:
            found.append(_Parameter(self.contrast, constant, scaled=True))
        if self.bias:
            every = itertools.product(range(self.degree + 1), repeat=axes)
            some = (degrees for degrees in every if sum(degrees) <= self.degree)
            found += [_Parameter(self.bias, degrees, scaled=True) for degrees in some]
        return tuple(found)

    def slack(self, axes: int) -> Fraction:
        """How far a member may lie from an exact one in any number; see the class."""
        parameters = self.parameters(axes)
        total = sum((parameter.radius for parameter in parameters), Fraction(1))
        return (2 * len(parameters) + 16) * total / 2**24

    def boxes(self, images: npt.NDArray[Any]) -> Box:
        """As the abstract method says, up to one float32 and the rounding of float64."""
        return _box(self.reach(images))

    def reach(self, images: npt.NDArray[Any]) -> IntensityReach:
        refuse_unusable_images(images)
        parameters, spatial = self.parameters(images.ndim - 2), images.shape[2:]
        ends = np.array([float64_above(parameter.radius) for parameter in parameters])
        ends = np.repeat(ends[None], len(images), axis=0)
        return IntensityReach(
            _in_float64(images),
            _fields(parameters, spatial),
            tuple(parameter.scaled for parameter in parameters),
            -ends,
            ends,
            # The pixels and the fields are rounded to float64, which changes far less than this.
            float64_above(self.slack(len(spatial)) + _ROUNDED),
        )

    def cells(
        self, image: npt.NDArray[Any], grid: tuple[int, ...], at_once: int
    ) -> Iterator[tuple[Box, IntensityReach]]:
        """Parts of an image's region that together are the region: the parameters' box in cells.

        Neighbouring cells share their ends, and the outermost have those of the box.

        Args:
            image: shape ``(C, *spatial)``.
            grid: for each parameter, into how many equal parts its range is cut.
            at_once: at most so many cells in one batch, at least 1.
        """
        whole = self.reach(image[None])
        ends = zip(whole.lower[0], whole.upper[0], grid, strict=True)
        edges = [np.linspace(low, high, count + 1) for low, high, count in ends]
        total = math.prod(grid)
        for start in range(0, total, at_once):
            numbers = np.arange(start, min(start + at_once, total))
            places: list[npt.NDArray[np.int64]] = []
            left = numbers
            # By hand: fields of volumes have more parameters than arrays may have axes.
            for count in reversed(grid):
                left, place = np.divmod(left, count)
                places.insert(0, place)
            some = IntensityReach(
                np.repeat(whole.base, len(numbers), axis=0),
                whole.fields,
                whole.scaled,
                np.stack([edge[place] for edge, place in zip(edges, places, strict=True)], axis=1),
                np.stack([e[place + 1] for e, place in zip(edges, places, strict=True)], axis=1),
                whole.slack,
            )
            yield _box(some), some

    def sample(self, images: npt.NDArray[Any], generator: np.random.Generator) -> Points:
        reach = self.reach(images)
        shares = generator.uniform(-1, 1, reach.upper.shape)
        # Corners of the parameters' box too, by chance, and sides of it.
        at_ends = generator.random(shares.shape) < generator.random((len(images), 1))
        shares = np.where(at_ends, np.sign(shares), shares)
        return _changed(reach, shares * self._inner(images.ndim - 2))

    def project(self, points: Points, images: npt.NDArray[Any]) -> Points:
        """As the abstract method says: one near it, whose parameters are fitted to the point."""
        reach, points = self.reach(images), np.clip(points, np.float32(0), np.float32(1))
        found = [
            _fitted(one, points[row].reshape(-1), self._inner(images.ndim - 2))
            for row, one in enumerate(_each(reach))
        ]
        members = _changed(reach, np.stack(found))
        # What is a member already need not change.
        kept = [self._holds(t, p, i) for t, p, i in zip(found, points, images, strict=True)]
        return np.where(np.array(kept).reshape(-1, *([1] * (points.ndim - 1))), points, members)

    def contains(self, points: Points, images: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """For each point, whether parameters were found that make it a member; NaN is in none.

        Verified in rationals where floats are not sure: what is no member is never called one.
        Parameters are fitted by least squares: a member that is as far from every exact one as the
        slack allows may not be recognised.
        """
        inside = np.all(((points >= 0) & (points <= 1)).reshape(len(points), -1), axis=1)
        found = np.zeros(len(points), dtype=np.bool_)
        inner = self._inner(images.ndim - 2)
        for row, one in enumerate(_each(self.reach(images))):
            if inside[row]:
                t = _fitted(one, points[row].reshape(-1), inner)
                found[row] = self._holds(t, points[row], images[row])
        return found

    def meeting_point(self, images: npt.NDArray[Any]) -> Points | None:
        """As the abstract method says, if parameters of both images are found that give one.

        Looked for by least squares. Whether the point that is returned lies in both regions is
        verified in rationals; that there is none is not shown where none is found.
        """
        box = self.boxes(images)
        if bool((box.lower.max(axis=0) > box.upper.min(axis=0)).any()):
            return None
        reach, inner = self.reach(images), self._inner(images.ndim - 2)
        first, second = (_matrix(one) for one in _each(reach))
        base = reach.base.reshape(2, -1)
        both, ends = np.concatenate([first, -second], axis=1), np.concatenate([inner, inner])
        # From the images themselves, and from where most of them is white, or black.
        for share in (0.0, 1.0, -1.0):
            t = share * ends
            for _ in range(_ROUNDS):
                of_first, of_second = np.split(t, 2)
                values = base[0] + first @ of_first, base[1] + second @ of_second
                clipped = [np.clip(value, 0, 1) for value in values]
                # Where both are cut off at the same end, they need not agree before.
                matters = (clipped[0] != clipped[1]) | (clipped[0] % 1 != 0)
                t = _least_squares(both[matters], (base[1] - base[0])[matters], ends, t)
            of_each = np.split(t, 2)
            members = _changed(reach, np.stack(of_each))
            point = np.asarray(members.mean(axis=0, dtype=np.float64), dtype=np.float32)
            if all(self._holds(t, point, i) for t, i in zip(of_each, images, strict=True)):
                return point
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "bias": str(self.bias),
            "brightness": str(self.brightness),
            "contrast": str(self.contrast),
            "degree": self.degree,
            "encoding": "grey-levels/255",
            "kind": "intensity",
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Intensity:
        """The family that a canonical form of this kind names.

        Raises:
            CertificateError: its sizes are none.
        """
        sizes: dict[str, Any] = {name: value.get(name) for name in _NAMES}
        for name, size in sizes.items():
            if name != "degree" and (not isinstance(size, str) or len(size) > 1000):
                raise CertificateError(f"the region's {name} {size!r:.200} is not text")
        try:
            return cls.of(**sizes)  # which refuses what is no degree
        except UsageError as error:
            raise CertificateError(f"the region is not valid: {error}") from None

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._said)

    def _inner(self, axes: int) -> Wide:
        """Float64 parameters up to which all are in the box, none of them beyond."""
        radii = [parameter.radius for parameter in self.parameters(axes)]
        nearest = [float(radius) for radius in radii]
        return np.array(
            [n if n <= r else np.nextafter(n, 0) for n, r in zip(nearest, radii, strict=True)]
        )

    def _holds(self, t: Wide, point: Points, image: npt.NDArray[Any]) -> bool:
        """Whether a point in [0, 1] is a member by these parameters; exact."""
        axes = image.ndim - 1
        parameters, slack = self.parameters(axes), self.slack(axes)
        exact = [Fraction(float(x)) for x in t]
        if any(abs(x) > parameter.radius for x, parameter in zip(exact, parameters, strict=True)):
            return False
        (reach,) = _each(self.reach(image[None]))
        wanted = np.clip(reach.base.reshape(-1) + _matrix(reach) @ t, 0, 1)
        apart = np.abs(point.reshape(-1) - wanted)
        # Some tens of terms, each at most 1 and off by a few roundings, are off by less than this.
        unsure = np.abs(apart - float(slack)) <= float(_ROUNDED)
        if not bool((unsure | (apart < float(slack))).all()):
            return False
        tables = _tables(parameters, image.shape[1:])
        for number in np.flatnonzero(unsure).tolist():
            place = np.unravel_index(number, image.shape)
            value = image[place].item()
            centre = Fraction(value, LEVELS - 1) if image.dtype == np.uint8 else Fraction(value)
            total = centre
            for x, parameter in zip(exact, parameters, strict=True):
                for axis, degree in enumerate(parameter.degrees):
                    x *= tables[axis][degree][place[axis + 1]]  # noqa: PLW2901
                total += x * centre if parameter.scaled else x
            if (
                abs(Fraction(float(point[place])) - min(max(total, Fraction(0)), Fraction(1)))
                > slack
            ):
                return False
        return True


def _in_float64(images: npt.NDArray[Any]) -> Wide:
    """The nearest float64 numbers to what pixels are."""
    wide = images.astype(np.float64)
    return wide / (LEVELS - 1) if images.dtype == np.uint8 else wide


@lru_cache(maxsize=64)
def _legendre(degree: int, count: int) -> tuple[tuple[Fraction, ...], ...]:
    """All Legendre polynomials up to a degree, at each of ``count`` places from -1 to 1."""
    places = [Fraction(2 * i - count + 1, max(count - 1, 1)) for i in range(count)]
    rows = [tuple(Fraction(1) for _ in places), tuple(places)]
    for n in range(1, degree):
        pairs = zip(places, rows[n], rows[n - 1], strict=True)
        rows.append(tuple(((2 * n + 1) * x * p - n * q) / (n + 1) for x, p, q in pairs))
    return tuple(rows[: degree + 1])


def _tables(
    parameters: tuple[_Parameter, ...], spatial: tuple[int, ...]
) -> list[tuple[tuple[Fraction, ...], ...]]:
    """The polynomials that the parameters need, for each axis."""
    highest = max(degree for parameter in parameters for degree in parameter.degrees)
    return [_legendre(highest, count) for count in spatial]


@lru_cache(maxsize=8)
def _fields(parameters: tuple[_Parameter, ...], spatial: tuple[int, ...]) -> Wide:
    """The polynomials of each parameter at each position, shape ``(K, *spatial)``.

    One rounding for each axis, and one for each product: at most five, relative to the exact value.
    """
    tables = _tables(parameters, spatial)
    fields = np.ones((len(parameters), *spatial))
    for k, parameter in enumerate(parameters):
        for axis, degree in enumerate(parameter.degrees):
            along = np.array([float(value) for value in tables[axis][degree]])
            fields[k] *= along.reshape(-1, *([1] * (len(spatial) - axis - 1)))
    return read_only(fields)


def _each(reach: IntensityReach) -> Iterator[IntensityReach]:
    for row in range(len(reach.base)):
        yield reach.take(slice(row, row + 1))


def _matrix(reach: IntensityReach) -> Wide:
    """By how much each parameter changes each number of the only sample, shape ``(N, K)``."""
    columns = [reach.direction(k).reshape(-1) for k in range(len(reach.fields))]
    return np.stack(columns, axis=1)


def _changed(reach: IntensityReach, t: Wide) -> Points:
    """The images that parameters, shape ``(B, K)``, make of the centres."""
    values = reach.base.copy()
    for k in range(len(reach.fields)):
        values += t[:, k].reshape(-1, *([1] * (values.ndim - 1))) * reach.direction(k)
    return np.asarray(np.clip(values, 0, 1), dtype=np.float32)


def _box(reach: IntensityReach) -> Box:
    """Where all inputs of some regions lie, whatever the parameters."""
    lower, upper = reach.base.copy(), reach.base.copy()
    column = (-1, *([1] * (lower.ndim - 1)))
    for k in range(len(reach.fields)):
        direction = reach.direction(k)
        ends = [t[:, k].reshape(column) * direction for t in (reach.lower, reach.upper)]
        lower += np.minimum(*ends)
        upper += np.maximum(*ends)
    whole = Box(np.clip(lower, 0, 1), np.clip(upper, 0, 1))
    return widened(whole, Fraction(reach.slack) + _ROUNDED)


def _fitted(reach: IntensityReach, point: npt.NDArray[np.float32], ends: Wide) -> Wide:
    """Parameters of the only sample's image that is near a point, shape ``(K,)``.

    A number at an end of the range asks for no more than that its image is cut off there too.
    """
    matrix, base = _matrix(reach), reach.base.reshape(-1)
    black, white = point <= reach.slack, point >= 1 - reach.slack
    wanted = point.astype(np.float64) - base
    t, matters = np.zeros(len(ends)), ~(black | white)
    for _ in range(_ROUNDS):
        t = _least_squares(matrix[matters], wanted[matters], ends, t)
        values = base + matrix @ t
        before, matters = matters, ~((black & (values <= 0)) | (white & (values >= 1)))
        if np.array_equal(before, matters):
            break
    return t


def _least_squares(matrix: Wide, wanted: Wide, ends: Wide, start: Wide) -> Wide:
    """A ``t`` within ``|t| <= ends`` at which ``matrix t`` is nearest ``wanted``, about.

    Of several, one near the start. Active sets (Stark and Parker 1995): what would leave its range
    is held at its end, until leaving it inwards would help.
    """
    t, free = np.clip(start, -ends, ends), np.ones(len(ends), dtype=np.bool_)
    for _ in range(_TURNS * len(ends)):
        left = wanted - matrix @ t
        move = np.zeros(len(ends))
        move[free] = np.linalg.lstsq(matrix[:, free], left, rcond=None)[0]
        room = np.where(move > 0, ends - t, ends + t)
        beyond = np.abs(move) > room
        if bool(beyond.any()):
            shares = np.divide(room, np.abs(move), out=np.ones_like(t), where=beyond)
            first = int(shares.argmin())
            t = np.clip(t + shares[first] * move, -ends, ends)
            t[first] = np.copysign(ends[first], move[first])
            free[first] = False
            continue
        t = np.clip(t + move, -ends, ends)
        inwards = np.where(free, 0, -np.sign(t) * (matrix.T @ (wanted - matrix @ t)))
        if not inwards.max() > _NO_HELP:
            break
        free[int(inwards.argmax())] = True
    return np.asarray(t)
