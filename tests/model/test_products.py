# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A product is the same whichever library multiplies: they change with the number of rows."""

import pytest
import torch
from torch import nn

from molmo_ros.model.products import Product, Products

ROWS = (1, 2, 3, 5, 6, 7, 9, 31)


@pytest.mark.parametrize('twice', [False, True])
@pytest.mark.parametrize(('out', 'width'), [(96, 40), (40, 96), (64, 1100)])
@pytest.mark.parametrize('alpha', [1.0, 1.7])
def test_no_number_of_rows_gives_other_values(out, width, alpha, twice):
    """A wrong way would point wrong after questions of some lengths alone."""
    torch.manual_seed(out + width)
    weight, bias = torch.randn(out, width), torch.randn(out)
    for given in (bias, None):
        product = Product(weight, given, alpha, twice=twice)
        for rows in ROWS:
            x, onto = torch.randn(rows, width), torch.randn(rows, out)
            exact = alpha * (x.double() @ weight.double().T)
            exact = exact if given is None else exact + given.double()
            rounded = 2e-6 * (1 + alpha * (x.abs() @ weight.abs().T))
            assert ((product(x) - exact).abs() <= rounded).all()
            assert ((product(x, onto) - exact - onto).abs() <= rounded).all()
            assert product(x).shape == (rows, out)
            assert product(x).is_contiguous()


def test_a_network_that_is_not_ours_sees_the_same_and_can_be_taught_after():
    """Molmo2's encoder is transformers' own: oneDNN knows no gradients."""
    torch.manual_seed(7)
    network = nn.Sequential(nn.Linear(24, 56), nn.GELU(), nn.Linear(56, 24, bias=False))
    x = torch.randn(3, 11, 24)
    before = network(x)
    with torch.inference_mode(), Products(network):
        torch.testing.assert_close(network(x), before.detach(), rtol=1e-5, atol=1e-5)
    after = network(x)
    assert torch.equal(after, before)
    after.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
