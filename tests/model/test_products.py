# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A product is the same whichever library multiplies: they change with the number of rows."""

import pytest
import torch
from torch import nn

from molmo_ros.model.fused import fuse
from molmo_ros.model.products import Held, Product, Products, product_of

ROWS = (1, 2, 3, 5, 6, 7, 9, 31)


@pytest.mark.parametrize('held', Held)
@pytest.mark.parametrize(('out', 'width'), [(96, 40), (40, 96), (64, 1100)])
@pytest.mark.parametrize('alpha', [1.0, 1.7])
def test_no_number_of_rows_gives_other_values(out, width, alpha, held):
    """A wrong way would point wrong after questions of some lengths alone."""
    torch.manual_seed(out + width)
    weight, bias = torch.randn(out, width), torch.randn(out)
    for given in (bias, None):
        product = Product(weight, given, alpha, held)
        for rows in ROWS:
            x, onto = torch.randn(rows, width), torch.randn(rows, out)
            exact = alpha * (x.double() @ weight.double().T)
            exact = exact if given is None else exact + given.double()
            rounded = 2e-6 * (1 + alpha * (x.abs() @ weight.abs().T))
            assert ((product(x) - exact).abs() <= rounded).all()
            assert ((product(x, onto) - exact - onto).abs() <= rounded).all()
            assert product(x).shape == (rows, out)
            assert product(x).is_contiguous()


@pytest.mark.parametrize('held', Held)
@pytest.mark.parametrize(('out', 'width'), [(96, 40), (40, 96)])
def test_in_bfloat16_the_order_of_the_weights_changes_nothing_but_rounding(out, width, held):
    """Who runs a release on a processor in half the memory must get its points, too."""
    torch.manual_seed(out)
    weight, bias = torch.randn(out, width).bfloat16(), torch.randn(out).bfloat16()
    for given in (bias, None):
        product = Product(weight, given, held=held)
        for rows in ROWS:
            x = torch.randn(rows, width).bfloat16()
            onto = torch.randn(rows, out).bfloat16()
            exact = x.double() @ weight.double().T
            exact = exact if given is None else exact + given.double()
            rounded = 1e-2 * (1 + x.double().abs() @ weight.double().abs().T)
            assert ((product(x) - exact).abs() <= rounded).all()
            assert ((product(x, onto) - exact - onto).abs() <= rounded).all()
            assert product(x).dtype == torch.bfloat16 and product(x).shape == (rows, out)


@pytest.mark.parametrize('held', Held)
def test_in_bfloat16_no_weight_is_rounded_a_second_time(held):
    """A factor of QuickGELU in the weights would change a release's numbers."""
    torch.manual_seed(3)
    weight, bias, x = torch.randn(80, 60), torch.randn(80), torch.randn(9, 60)
    weight, bias, x = weight.bfloat16(), bias.bfloat16(), x.bfloat16()
    product = Product(weight, bias, 1.702, held)(x)
    exact = 1.702 * (x.double() @ weight.double().T) + bias.double()
    # One rounding of the result is 2^-9 of it at most.
    assert ((product - exact).abs() <= exact.abs() * 2**-8 + 1e-2).all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_weights_in_one_order_alone_are_held_once(dtype):
    """A release takes half of a robot's memory, and all of it if it were held twice."""
    torch.manual_seed(1)
    layers = [nn.Linear(24, 56).to(dtype), nn.Linear(24, 8).to(dtype), nn.Linear(56, 24).to(dtype)]
    x = torch.randn(5, 24).to(dtype)
    with torch.no_grad():
        first = torch.cat([layer(x) for layer in layers[:2]], dim=-1)
        last = layers[2](first[:, :56])
    both, one = fuse(*layers[:2], held=Held.ORDERED), product_of(layers[2], Held.ORDERED)
    torch.testing.assert_close(both(x), first, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(one(first[:, :56]), last, rtol=1e-2, atol=2e-2)
    ordered = both.ordered_alone and one.ordered_alone
    assert all(layer.weight.numel() == 0 for layer in layers) == ordered


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
