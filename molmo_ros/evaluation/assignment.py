# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who belongs to whom, so that the costs add up to the least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def least_sum_pairs(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of a row and a column, min(N, M) of them, each used once, with the least sum of costs.

    cost: (N, M), finite. By shortest augmenting paths, as Jonker and Volgenant have it and
    SciPy's `linear_sum_assignment` does; among equal sums any.
    """
    rows, columns = cost.shape
    if rows > columns:
        return sorted((row, column) for column, row in least_sum_pairs(cost.T))
    row_of = np.full(columns, -1)
    price_of_row, price_of_column = np.zeros(rows), np.zeros(columns)
    for row in range(rows):
        _place(row, cost, row_of, price_of_row, price_of_column)
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _place(
    row: int,
    cost: NDArray[np.float64],
    row_of: NDArray[np.intp],
    price_of_row: NDArray[np.float64],
    price_of_column: NDArray[np.float64],
) -> None:
    """Give a row a column, moving others where that costs least: a shortest path to a free one."""
    columns = len(row_of)
    distance, came_from = np.full(columns, np.inf), np.full(columns, -1)
    done = np.zeros(columns, bool)
    moved, column, travelled = row, -1, 0.0
    while True:
        through = travelled + cost[moved] - price_of_row[moved] - price_of_column
        nearer = ~done & (through < distance)
        distance[nearer], came_from[nearer] = through[nearer], column
        column = int(np.where(done, np.inf, distance).argmin())
        travelled = float(distance[column])
        if row_of[column] < 0:
            break
        done[column] = True
        moved = int(row_of[column])
    price_of_row[row] += travelled
    price_of_row[row_of[done]] += travelled - distance[done]
    price_of_column[done] -= travelled - distance[done]
    while column >= 0:
        before = int(came_from[column])
        row_of[column] = row if before < 0 else row_of[before]
        column = before
