from pfir.passes.base import Context
from pfir.passes.quantization.rounding.nearest import nearest
from tests.support.quantization import PLAIN, quantized, residual


def test_what_was_written_stays():
    net = residual()
    made = quantized(net, **PLAIN)
    before = made.to_bytes()
    assert nearest(made, net, 8, Context()) == () and made.to_bytes() == before
