"""Candidates moved onto a budget before they are built."""

from __future__ import annotations

from collections.abc import Callable

from pfir.errors import Infeasible
from pfir.space import Parameter, Space

Parameters = dict[str, float]

_LARGEST_SCALE = 64.0  # proportions are kept up to this factor; then all ratios are lifted towards their highest
_END = 4.0
_HALVINGS = 18  # leaves 4 / 2^18 of the path: finer than any staircase of widths
_STEPS = 64  # grid on which the next built value below a ratio is looked for


def project(
    parameters: Parameters,
    cost: Callable[[Parameters], float],
    limit: float,
    space: Space,
    snap: Callable[[Parameters], Parameters] = dict,
) -> Parameters:
    """The candidate, snapped, with a cost of at most the limit and as near to it as single steps reach.

    Savings are scaled together, which keeps their proportions; where that does not suffice all are lifted towards
    their cheapest, and only then those that are held. What snapping took beyond the limit is then given back in single
    steps, first where it took most.

    Args:
        parameters: One value for each parameter of the space.
        cost: Of snapped parameters.
        limit: In the unit of the cost.
        snap: See `Problem`.

    Raises:
        Infeasible: Even the highest values cost more than the limit; the text holds the reachable range.

    Source: after He et al., "AMC: AutoML for Model Compression", ECCV 2018, section 3.2 (actions constrained to the
    budget); ours scales all ratios at once and fills up the staircase of widths.
    """
    known = _Cached(cost, snap)
    least, most = known.ends(space)
    if least > limit:
        raise Infeasible(f"a cost of {limit:.4g} is out of reach; the reachable range is {least:.4g} to {most:.4g}")
    wanted = {p.name: _clipped(parameters[p.name], p) for p in space.parameters}
    scaled = _first_within(wanted, known, limit, space)
    return _filled(scaled, known, limit, space)


def reachable(
    cost: Callable[[Parameters], float], space: Space, snap: Callable[[Parameters], Parameters] = dict
) -> tuple[float, float]:
    """The least and the most that candidates of this space cost."""
    return _Cached(cost, snap).ends(space)


class _Cached:
    """Costs of snapped parameters; many scaled candidates snap to the same."""

    def __init__(self, cost: Callable[[Parameters], float], snap: Callable[[Parameters], Parameters]) -> None:
        self._cost, self.snap = cost, snap
        self._seen: dict[tuple[tuple[str, float], ...], float] = {}

    def __call__(self, parameters: Parameters) -> float:
        built = self.snap(parameters)
        key = tuple(built.items())
        if key not in self._seen:
            self._seen[key] = self._cost(built)
        return self._seen[key]

    def ends(self, space: Space) -> tuple[float, float]:
        return self({p.name: p.cheapest for p in space.parameters}), self({p.name: p.dearest for p in space.parameters})


def _first_within(wanted: Parameters, cost: _Cached, limit: float, space: Space) -> Parameters:
    """The point nearest to the path's beginning whose cost is within the limit; the path's end always is."""
    low, high = 0.0, _END
    if cost(_along(wanted, low, space)) <= limit:
        return _along(wanted, low, space)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(_along(wanted, middle, space)) <= limit else (middle, high)
    return _along(wanted, high, space)


def _along(wanted: Parameters, t: float, space: Space) -> Parameters:
    """A path that gets cheaper: dearest at t=0, as wanted at 1, scaled up to 2, then lifted to the cheapest at 3.

    What is held stays as wanted up to 3 and is lifted to the cheapest at 4.
    """
    return {p.name: _moved(wanted[p.name], p, t) for p in space.parameters}


def _moved(value: float, p: Parameter, t: float) -> float:
    if p.held:
        return _clipped(value + max(t - 3.0, 0.0) * (p.cheapest - value), p)
    sign = -1.0 if p.low_is_cheap else 1.0
    saved = sign * (value - p.dearest)
    if t <= 1:
        return p.dearest + sign * (saved * t)
    scaled = min(saved * _LARGEST_SCALE ** (min(t, 2.0) - 1), p.high - p.low)
    lift = min(max(t - 2.0, 0.0), 1.0)
    return _clipped(p.dearest + sign * (scaled + lift * (p.high - p.low - scaled)), p)


def _filled(scaled: Parameters, cost: _Cached, limit: float, space: Space) -> Parameters:
    """Snapped, then one step dearer for one parameter after another, as long as the cost stays within the limit.

    A parameter whose step went beyond the limit is not tried again: whatever is given back elsewhere only adds cost.
    """
    built = cost.snap(scaled)
    open_ = sorted((p for p in space.parameters if not p.held), key=lambda p: _beyond(scaled[p.name], built[p.name], p))
    while open_:
        remaining = []
        for p in open_:
            dearer = _one_dearer(built, p, cost.snap)
            if dearer is not None and cost(dearer) <= limit:
                built = dearer
                remaining.append(p)
        open_ = remaining
    return built


def _beyond(wanted: float, built: float, p: Parameter) -> float:
    """How much of what was wanted snapping gave back; negative where it took more, of ranges one to the other alike."""
    return built - wanted if p.low_is_cheap else wanted - built


def _one_dearer(built: Parameters, p: Parameter, snap: Callable[[Parameters], Parameters]) -> Parameters | None:
    """The built parameters with the next dearer value of this one, or None at its dearest."""
    grid = (p.high - p.low) / _STEPS * (1.0 if p.low_is_cheap else -1.0)
    value = built[p.name]
    while value != p.dearest:
        value = _clipped(value + grid, p)
        dearer = snap(built | {p.name: value})
        if _beyond(dearer[p.name], built[p.name], p) < 0:
            return dearer
    return None


def _clipped(value: float, p: Parameter) -> float:
    return min(max(float(value), p.low), p.high)
