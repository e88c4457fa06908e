"""Single rows through linear layers: the same outcome, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finite_memory_local.linear import slow_on_rows, taking_rows

from .families import model


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 48), (1, 48), (48,), (1, 5, 48), (2, 1, 48)])
@torch.no_grad()
def test_rows_come_to_the_same(shape: tuple[int, ...], has_bias: bool) -> None:
    """For a single row and for several, with a bias and without; hooks are still called."""
    layer = nn.Linear(48, 64, bias=has_bias)
    heard: list[torch.Size] = []
    layer.register_forward_hook(lambda _, __, out: heard.append(out.shape))
    given = torch.randn(shape)
    expected = layer(given)
    with taking_rows([layer]):
        assert "forward" in vars(layer)
        made = layer(given)
    torch.testing.assert_close(made, expected)
    assert [expected.shape] * 2 == heard
    assert "forward" not in vars(layer)


def test_layers_that_are_not_plain_are_left_alone() -> None:
    """A kind of its own, other weights, a forward of its own: all stay what they are."""

    class Other(nn.Linear):
        pass

    hooked = nn.Linear(8, 8)
    vars(hooked)["forward"] = len
    others = [Other(8, 8), nn.Linear(8, 8, dtype=torch.bfloat16), nn.Linear(8, 7), hooked]
    before = [dict(vars(layer)) for layer in others]
    with taking_rows(others):
        assert before == [dict(vars(layer)) for layer in others]
    assert before == [dict(vars(layer)) for layer in others]


def test_layers_are_put_back_after_a_failure() -> None:
    """Whatever happens in the block."""
    layer = nn.Linear(8, 8)
    with pytest.raises(RuntimeError, match="no"), taking_rows([layer]):
        raise RuntimeError("no")
    assert "forward" not in vars(layer)


def test_a_model_that_fits_in_caches_is_left_alone() -> None:
    """There, nothing is slow."""
    assert slow_on_rows(model("Llama")) == []
